"""What is kept of a worktree: everything that it held before something of it is discarded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Repository, Worktrees, recovery_ref, turn_ref
from agentpane.worktrees.git.runner import GitRunner, Place
from agentpane.worktrees.keeping import contents
from agentpane.worktrees.keeping import recovery as recoveries

from .conftest import Bench, bench_of, commit_all, git, git_bytes
from .kept import keep, laid_out, state, turn

AWKWARD = "line\nbreak\r", "-rf", "\u202egnp", os.fsdecode(b"not\xffutf8"), 'quote"d\\', "sp ace ", "CON"


def fill_with_everything(root: Path, outside: Path) -> None:
    """Edits, deletions, kinds that changed, modes, links, ignored files, and names that are hard to write down."""
    (root / "readme.md").write_bytes(b"mixed\r\nline\nendings\r")
    (root / "run.sh").unlink()
    (root / "src" / "app.py").unlink()
    (root / "src").rmdir()
    (root / "src").write_text("a file where a folder was")
    (root / ".gitignore").write_text(".env\ncache/\n*.log\n")
    (root / ".env").write_text("KEY=secret")
    (root / ".env").chmod(0o600)
    (root / "cache" / "deep").mkdir(parents=True)
    (root / "cache" / "deep" / "blob").write_bytes(bytes(range(256)) * 40)
    (root / "cache" / "to").symlink_to("deep/blob")
    (root / "left.log").write_text("ignored, and not chosen")
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o750)
    (root / "empty").write_bytes(b"")
    (root / "dangling").symlink_to("nowhere")
    (root / "away").symlink_to(outside)
    for name in AWKWARD:
        (root / "awkward").mkdir(exist_ok=True)
        (root / "awkward" / name).write_text(name.encode("utf-8", "replace").decode())
    nested = root / "vendor" / "lib"
    nested.mkdir(parents=True)
    git(nested, "init", "-q")
    (nested / "code.c").write_text("int x;\n")


@pytest.mark.parametrize("autocrlf", ["false", "true"])
async def test_what_was_kept_is_laid_out_byte_for_byte_with_modes_and_links_and_uncommitted(
    bench: Bench, tmp_path: Path, autocrlf: str
) -> None:
    git(bench.repo.path, "config", "core.autocrlf", autocrlf)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "theirs").write_text("not of the worktree")
    fill_with_everything(bench.path, tmp_path / "outside")
    kept = await keep(bench, (".env", "cache", "away/theirs", "../repo/readme.md", "gone"))
    before = state(bench.path)
    assert git_bytes(bench.repo.path, "cat-file", "blob", f"{kept.sha}:.env") == b"KEY=secret"
    path = await laid_out(bench, kept)
    expected = {name: about for name, about in before.items() if name != "left.log"}
    assert state(path) == expected
    assert git(path, "rev-parse", "HEAD") == bench.base  # nothing of it was committed
    assert git(path, "rev-list", "--count", "agentpane/again") == "1"
    assert state(await laid_out(bench, kept, "twice")) == expected
    changes = await recoveries.changes_of(bench.worktrees._git, bench.repo, kept.parent, kept.sha)
    assert kept.files == len(changes)
    contents = {about[1] for name, about in expected.items() if name != "left.log"}
    assert kept.size == sum(map(len, contents))  # each content counted once


@pytest.mark.parametrize("how", [("-f",), ("-f", "-N")], ids=["staged", "to be staged"])
async def test_a_staged_file_that_git_ignores_is_kept_reviewed_and_in_the_turn(
    bench: Bench, tmp_path: Path, how: tuple[str, ...]
) -> None:
    (bench.path / ".gitignore").write_text("*.cfg\n")
    commit_all(bench.path)
    (bench.path / "mine.cfg").write_text("precious")
    (bench.path / "left.cfg").write_text("ignored, and not staged")
    (bench.path / "away").symlink_to(tmp_path)
    (tmp_path / "theirs.cfg").write_text("not of the worktree")
    git(bench.path, "add", *how, "mine.cfg")
    blob = git(bench.path, "hash-object", "-w", "readme.md")
    git(bench.path, "update-index", "--add", "--cacheinfo", f"100644,{blob},away/theirs.cfg")
    if "-N" not in how:
        git(bench.path, "update-index", "--assume-unchanged", "run.sh")
    kept = await keep(bench)
    taken = await turn(bench, 1)
    made = await bench.snap()
    for sha in (kept.sha, taken, made.sha):
        listed = git(bench.repo.path, "ls-tree", "-r", "--name-only", str(sha)).splitlines()
        assert listed == [".gitignore", "away", "mine.cfg", "readme.md", "run.sh", "src/app.py"]
        assert git(bench.repo.path, "show", f"{sha}:mine.cfg") == "precious"


async def test_a_folder_that_cannot_be_looked_into_stops_whoever_wanted_to_discard_it(
    repo: Repository, tmp_path: Path
) -> None:
    """A git without the rights of root, which a folder of mode 000 keeps out as it does any other user's."""
    plain = tmp_path / "git"
    drop = "setpriv --inh-caps=-all --bounding-set=-dac_override,-dac_read_search " if os.geteuid() == 0 else ""
    plain.write_text(f'#!/bin/sh\nexec {drop}git "$@"\n')
    plain.chmod(0o755)
    worktrees = Worktrees(str(plain))
    try:
        bench = await bench_of(worktrees, repo)
        (bench.path / "closed").mkdir()
        (bench.path / "closed" / "work").write_text("precious")
        (bench.path / "closed").chmod(0)
        with pytest.raises(AgentPaneError) as caught:
            await keep(bench)
        assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
        (bench.path / "closed").chmod(0o700)
        assert git(repo.path, "show", f"{(await keep(bench)).sha}:closed/work") == "precious"
    finally:
        await worktrees.close()


async def test_a_large_file_comes_back_in_pieces(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentpane.worktrees.keeping.exact.AT_ONCE", 1_000)
    for name, size in (("a", 900), ("b", 900), ("large", 300_000), ("z", 10)):
        (bench.path / name).write_bytes(os.urandom(size))
    kept = await keep(bench)
    assert state(await laid_out(bench, kept)) == state(bench.path)


async def test_commits_that_no_branch_holds_are_kept_although_nothing_is_uncommitted(bench: Bench) -> None:
    git(bench.path, "checkout", "-q", "--detach")
    (bench.path / "found").write_text("by the agent")
    made = commit_all(bench.path)
    kept = await keep(bench)
    assert kept.parent == made and kept.files == 0 and kept.size == 0
    git(bench.path, "checkout", "-q", "agentpane/one-abc123")
    git(bench.repo.path, "reflog", "expire", "--expire=now", "--all")
    git(bench.repo.path, "gc", "-q", "--prune=now")
    assert git(bench.repo.path, "show", f"{kept.sha}:found") == "by the agent"


async def test_on_a_branch_without_a_commit_its_files_and_the_commits_before_it_are_kept(bench: Bench) -> None:
    git(bench.path, "checkout", "-q", "--detach")
    (bench.path / "found").write_text("by the agent")
    made = commit_all(bench.path)
    git(bench.path, "switch", "-q", "--orphan", "elsewhere")
    (bench.path / "new").write_text("not committed")
    kept = await keep(bench)
    assert kept.parent == bench.base and git(bench.repo.path, "show", f"{kept.sha}:new") == "not committed"
    assert git(bench.repo.path, "merge-base", "--is-ancestor", made, kept.sha) == ""
    git(bench.repo.path, "update-ref", "-d", "refs/heads/agentpane/one-abc123")
    assert git(bench.repo.path, "show", f"{(await keep(bench)).sha}:new") == "not committed"


async def test_collecting_garbage_takes_neither_a_recovery_nor_a_turn(bench: Bench) -> None:
    (bench.path / "new").write_text("x" * 5_000)
    kept = await keep(bench)
    taken = await turn(bench, 1)
    assert taken is not None
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    git(bench.repo.path, "reflog", "expire", "--expire=now", "--all")
    git(bench.repo.path, "gc", "-q", "--prune=now", "--aggressive")
    for ref, sha in ((recovery_ref("r1"), kept.sha), (turn_ref("run1", 1), taken)):
        assert git(bench.repo.path, "rev-parse", ref) == sha
        assert len(git(bench.repo.path, "show", f"{sha}:new")) == 5_000


async def test_a_snapshot_that_lost_its_objects_to_a_collection_meanwhile_is_taken_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git gc --prune=now` runs between the storing of a file and the ref that would have kept it."""
    (bench.path / "new").write_text("precious")
    whole = contents.write_tree
    collected: list[str] = []

    async def collecting(runner: GitRunner, place: Place, index: Path) -> str:
        tree = await whole(runner, place, index)
        if not collected:
            blob = git(bench.path, "hash-object", "new")
            (bench.repo.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
            collected.append(blob)
        return tree

    monkeypatch.setattr(contents, "write_tree", collecting)
    kept = await keep(bench)
    assert collected
    assert git(bench.repo.path, "show", f"{kept.sha}:new") == "precious"


async def test_a_file_that_cannot_be_read_stops_whoever_wanted_to_discard_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.path / "secret").write_text("x")
    readable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "secret" and readable(path, mode))
    with pytest.raises(AgentPaneError) as caught:
        await keep(bench)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED and "secret" in caught.value.message
    assert git(bench.repo.path, "for-each-ref", "refs/agentpane") == ""


async def test_refs_that_have_moved_or_are_not_ours_are_never_deleted(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    kept = await keep(bench)
    await bench.worktrees.delete_refs(bench.repo, {kept.ref: bench.base, "refs/agentpane/turn/none/1": bench.base})
    assert await bench.worktrees.ref_tip(bench.repo, kept.ref) == kept.sha
    with pytest.raises(ValueError, match="not a ref of ours"):
        await bench.worktrees.delete_refs(bench.repo, {"refs/heads/main": bench.base})
    await bench.worktrees.delete_refs(bench.repo, {kept.ref: kept.sha})
    assert await bench.worktrees.ref_tip(bench.repo, kept.ref) is None
