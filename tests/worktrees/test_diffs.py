from __future__ import annotations

from pathlib import Path

import pytest

from agentpane.domain.diff import index_patch
from agentpane.worktrees import GitError, Repository, Worktrees
from tests.worktrees.conftest import Bench, commit_all, git, git_bytes


async def patch(worktrees: Worktrees, repo: Repository, base: str, sha: str, *paths: str) -> bytes:
    return b"".join([chunk async for chunk in worktrees.diff_patch(repo, base, sha, paths)])


async def changed(bench: Bench) -> str:
    root = bench.path
    (root / "readme.md").write_bytes(b"# Sample\nmore\r\n")
    git(root, "mv", "src/app.py", "src/main.py")
    (root / "run.sh").chmod(0o644)
    (root / "picture.png").write_bytes(b"\x89PNG\0\0" * 20)
    (root / "link").symlink_to("readme.md")
    (root / "bad\nname \xe9").write_bytes(b"\x1b[31m\xff\n")
    return (await bench.snap()).sha


async def test_the_files_of_a_change_are_listed_with_kinds_and_counts(bench: Bench) -> None:
    found = {
        change.path: change for change in await bench.worktrees.diff_files(bench.repo, bench.base, await changed(bench))
    }
    assert {path: change.status for path, change in found.items()} == {
        "readme.md": "M", "src/main.py": "R", "run.sh": "M", "picture.png": "A", "link": "A", "bad\nname \xe9": "A",
    }  # fmt: skip
    assert (found["readme.md"].added, found["readme.md"].removed) == (1, 0)
    assert (found["src/main.py"].old_path, found["src/main.py"].added) == ("src/app.py", 0)
    assert (found["run.sh"].old_mode, found["run.sh"].new_mode) == ("100755", "100644")
    assert found["picture.png"].binary and found["picture.png"].added is None
    assert (found["link"].new_mode, found["link"].target) == ("120000", "readme.md")


async def test_a_file_that_became_a_link_changes_its_type(bench: Bench) -> None:
    (bench.path / "readme.md").unlink()
    (bench.path / "readme.md").symlink_to("run.sh")
    (change,) = await bench.worktrees.diff_files(bench.repo, bench.base, (await bench.snap()).sha)
    assert (change.status, change.target) == ("T", "run.sh")


async def test_a_link_that_no_system_would_follow_is_not_read(bench: Bench) -> None:
    blob = git(bench.path, "hash-object", "-w", "--stdin", stdin=b"x" * 5_000)
    odd = git(bench.path, "hash-object", "-w", "--stdin", stdin=b"../a\n\xff")
    for sha, name in ((blob, "long"), (odd, "odd")):
        git(bench.path, "update-index", "--add", "--cacheinfo", f"120000,{sha},{name}")
    git(bench.path, "commit", "-q", "-m", "links")
    sha = git(bench.path, "rev-parse", "HEAD")
    found = {one.path: one.target for one in await bench.worktrees.diff_files(bench.repo, bench.base, sha)}
    assert found == {"long": None, "odd": "../a\n\udcff"}


async def test_the_size_is_counted_over_all_files(bench: Bench) -> None:
    stat = await bench.worktrees.diff_stat(bench.repo, bench.base, await changed(bench))
    assert (stat.files, stat.added, stat.removed) == (6, 3, 0)


async def test_the_patch_is_gits_own_byte_for_byte(bench: Bench) -> None:
    sha = await changed(bench)
    assert await patch(bench.worktrees, bench.repo, bench.base, sha) == git_bytes(
        bench.repo.path, "diff", bench.base, sha
    )


async def test_the_patch_is_the_same_whatever_the_person_has_configured(bench: Bench) -> None:
    sha = await changed(bench)
    plain = git_bytes(bench.repo.path, "diff", bench.base, sha)
    settings = {
        "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "color.ui": "always", "diff.renames": "false",
        "core.quotePath": "false", "diff.suppressBlankEmpty": "true", "diff.algorithm": "patience",
        "diff.interHunkContext": "50", "diff.context": "0", "diff.relative": "true", "diff.wordRegex": ".",
        "diff.submodule": "log", "diff.colorMoved": "zebra",
    }  # fmt: skip
    for key, value in settings.items():
        git(bench.repo.path, "config", key, value)
    assert await patch(bench.worktrees, bench.repo, bench.base, sha) == plain


async def test_the_patch_of_some_files_only(bench: Bench) -> None:
    sha = await changed(bench)
    part = await patch(bench.worktrees, bench.repo, bench.base, sha, "src/app.py", "src/main.py")
    assert [file.path for file in index_patch(part).files()] == ["src/main.py"]
    assert await patch(bench.worktrees, bench.repo, bench.base, sha, "*") == b""


async def test_the_patch_applies_with_git(bench: Bench, tmp_path: Path) -> None:
    (bench.path / "src/app.py").write_text("line 0\nother\n")
    (bench.path / "plain").write_text("no newline at the end")
    sha = (await bench.snap()).sha
    git(tmp_path, "clone", "-q", str(bench.repo.path), "copy")
    git(tmp_path / "copy", "apply", "--index", "-", stdin=await patch(bench.worktrees, bench.repo, bench.base, sha))
    assert git(tmp_path / "copy", "write-tree") == git(bench.path, "rev-parse", f"{sha}^{{tree}}")


async def test_a_changed_submodule_pointer_is_shown_though_configured_away(bench: Bench) -> None:
    pointer = f"160000,{bench.base},sub"
    git(bench.path, "update-index", "--add", "--cacheinfo", pointer)
    (bench.path / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\tignore = all\n')
    git(bench.path, "commit", "-q", "-m", "pointer")
    sha = git(bench.path, "rev-parse", "HEAD")
    git(bench.repo.path, "config", "diff.ignoreSubmodules", "all")
    git(bench.repo.path, "config", "submodule.sub.ignore", "all")
    assert [change.path for change in await bench.worktrees.diff_files(bench.repo, bench.base, sha)] == ["sub"]
    assert b"+Subproject commit" in await patch(bench.worktrees, bench.repo, bench.base, sha)


async def test_attributes_in_the_agents_worktree_cannot_hide_a_change(bench: Bench) -> None:
    (bench.path / ".gitattributes").write_text("* binary\n")
    (bench.path / "readme.md").write_text("evil\n")
    sha = (await bench.snap()).sha
    assert b"+evil" in await patch(bench.worktrees, bench.repo, bench.base, sha)


async def test_a_reader_may_stop_early_and_git_ends(bench: Bench) -> None:
    (bench.path / "big").write_text("".join(f"line {n}\n" for n in range(300_000)))
    sha = (await bench.snap()).sha
    for _ in range(20):  # more often than there are places
        stream = bench.worktrees.diff_patch(bench.repo, bench.base, sha)
        async for chunk in stream:
            assert 0 < len(chunk) <= 65536
            break
        await stream.aclose()  # type: ignore[attr-defined]
    assert len(await patch(bench.worktrees, bench.repo, bench.base, sha)) > 3_000_000


async def test_a_commit_that_does_not_exist_is_an_error(bench: Bench) -> None:
    with pytest.raises(GitError):
        await patch(bench.worktrees, bench.repo, bench.base, "1" * 40)
    with pytest.raises(GitError):
        await bench.worktrees.diff_files(bench.repo, bench.base, "1" * 40)


async def test_the_merge_base_is_found(bench: Bench) -> None:
    (bench.path / "a").write_text("1")
    sha = (await bench.snap()).sha
    (bench.repo.path / "b").write_text("2")
    ahead = commit_all(bench.repo.path)
    assert await bench.worktrees.merge_base(bench.repo, ahead, sha) == bench.base
