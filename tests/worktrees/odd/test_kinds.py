"""Repositories of every kind, many oddities in one: the whole story is told, and what is the person's stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Conflicted, Merged, Repository, Worktrees
from tests.worktrees.conftest import commit_all, git, git_bytes
from tests.worktrees.odd.story import card_of, handed_over, persons, told

# Everything that a name may be on this system.
NAMES = tuple(
    os.fsdecode(name)
    for name in (
        b"new\nline", b"tab\tname", b"-rf", b"trailing ", b" leading", b'"quoted"', b"back\\slash", b"'single'",
        "bidi\u202egnp".encode(), b"not\xffutf8", b"n" * 255, "\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
        "e\N{COMBINING ACUTE ACCENT}".encode(), "\N{SNOWMAN}\U0001f600".encode(), b"CON", b"a:b", b"*", b"[x]", b"$(x)",
        b"~", b"@{0}", b":(top)x",
    )
)  # fmt: skip
DEEP = "/".join(["d" * 200] * 12)


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def made(folder: Path, files: dict[str, bytes], *options: str) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", *options)
    fill(folder, files)
    commit_all(folder, "First")
    return folder


def agents_names(path: Path) -> None:
    for name in NAMES:
        (path / name).write_bytes(b"changed\n")
        (path / f"x{name}"[:200]).write_bytes(b"new\n")
    (path / DEEP / "deep").write_bytes(b"deeper\n")
    (path / "dangling").unlink()
    (path / "dangling").write_bytes(b"a file\n")
    (path / "out").symlink_to("/etc")
    (path / "run.sh").chmod(0o644)
    (path / "plain").chmod(0o755)


async def test_names_of_any_kind_links_modes_and_a_path_that_is_hard_to_write_down(
    worktrees: Worktrees, tmp_path: Path
) -> None:
    top = tmp_path / "spaces and\na line ☃\u202e'\"" / os.fsdecode(b"\xff")
    files = dict.fromkeys(NAMES, b"old\n") | {f"{DEEP}/deep": b"deep\n", "run.sh": b"#!/bin/sh\n", "plain": b"p\n"}
    folder = made(top, files)
    (folder / "run.sh").chmod(0o755)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "to a folder").symlink_to("d" * 200)
    (folder / "absolute").symlink_to("/etc/hostname")
    commit_all(folder, "Links")
    (folder / "mine").write_bytes(b"not committed")
    repo = await worktrees.open_repository(folder)
    card = await card_of(worktrees, repo)
    paths = await told(card, agents_names, folder)
    assert set(NAMES) <= set(paths) and {"dangling", "out", "run.sh", "plain"} <= set(paths)
    assert (folder / "out").is_symlink() and os.access(folder / "plain", os.X_OK)
    assert (folder / "new\nline").read_bytes() == b"changed\n"
    await handed_over(worktrees, repo, card.base)


async def test_a_repository_with_policies_of_its_own_is_worked_on_and_none_of_them_runs(
    worktrees: Worktrees, tmp_path: Path, masked_host: Path
) -> None:
    """Hooks that refuse, a signature that never comes, no identity, alternates, 10,000 packed refs, a sparse
    checkout, merge drivers, replaced and grafted commits, and attributes for archives.
    """
    source = made(
        tmp_path / "source", {"a.txt": b"one\ntwo\n", "deep/c.txt": b"c\n", "else/e.txt": b"e\n", "b.txt": b"b\n"}
    )
    fill(source, {".gitattributes": b"*.txt merge=union\nb.txt export-ignore\n*.bin merge=theirs\n"})
    old = git(source, "rev-parse", "HEAD")
    commit_all(source, "Attributes")
    git(tmp_path, "clone", "-q", "--shared", str(source), "repo")
    folder, ran = tmp_path / "repo", tmp_path / "ran"
    tip = git(folder, "rev-parse", "HEAD")
    git(folder, "pack-refs", "--all")
    with open(folder / ".git/packed-refs", "a", encoding="ascii") as packed:  # noqa: ASYNC230
        packed.writelines(f"{tip} refs/tags/{number:05}\n" for number in range(10_000))
    git(folder, "sparse-checkout", "set", "--cone", "deep")
    git(folder, "replace", old, tip)
    (folder / ".git/info/grafts").write_text(f"{tip}\n")
    settings = {
        "commit.gpgSign": "true", "gpg.program": str(tmp_path / "hangs"), "user.signingKey": "x", "user.name": "",
        "user.email": "", "user.useConfigOnly": "true", "merge.theirs.driver": f"touch {ran}", "gc.auto": "1",
        "core.logAllRefUpdates": "always", "merge.ff": "false", "branch.main.mergeOptions": "--no-ff",
    }  # fmt: skip
    for name, value in settings.items():
        git(folder, "config", name, value)
    (masked_host / ".gitconfig").write_text("")
    for script in (tmp_path / "hangs", *(folder / ".git/hooks" / name for name in HOOKS)):
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\necho $0 >> {ran}\nexit 1\n")
        script.chmod(0o755)
    repo = await worktrees.open_repository(folder)
    card = await card_of(worktrees, repo)
    assert (card.made.path / "else/e.txt").exists() and not (
        folder / "else"
    ).exists()  # the sparse checkout is the person's alone

    def work(path: Path) -> None:
        git(path, "reset", "--hard", "--quiet")  # git leaves out there what it leaves out in the person's checkout
        assert not (path / "else").exists()
        fill(path, {"a.txt": b"one\nmore\ntwo\n", "deep/new.txt": b"n\n", "outside/new.txt": b"n\n", "b.txt": b"b2\n"})

    git(folder, "config", "core.hooksPath", os.devnull)  # for the git of the person, which this test runs
    sparse = git(folder, "sparse-checkout", "list")
    git(folder, "config", "core.untrackedCache", "false")
    assert "else/e.txt" not in await told(card, work, folder)
    git(folder, "config", "--unset", "core.hooksPath")
    assert not ran.exists()
    assert git(folder, "sparse-checkout", "list") == sparse
    assert (folder / "deep/new.txt").exists() and not (folder / "outside").exists()
    assert git(folder, "log", "-1", "--format=%an <%ae>", "main") == "AgentPane <agentpane@localhost>"


HOOKS = (
    "pre-commit", "pre-merge-commit", "commit-msg", "post-checkout", "post-merge", "post-index-change",
    "reference-transaction", "post-rewrite", "prepare-commit-msg",
)  # fmt: skip


async def test_lines_on_both_sides_are_not_joined_by_an_attribute(worktrees: Worktrees, tmp_path: Path) -> None:
    """What merge=union makes of it, nobody has seen: it is a conflict, and both sides are kept."""
    folder = made(tmp_path / "repo", {"a.txt": b"one\ntwo\n", ".gitattributes": b"*.txt merge=union\n"})
    card = await card_of(worktrees, await worktrees.open_repository(folder))
    fill(card.made.path, {"a.txt": b"one\nagent\ntwo\n"})
    snapshot = await card.snapshot()
    fill(folder, {"a.txt": b"one\nperson\ntwo\n"})
    now = commit_all(folder)
    before = persons(folder)
    outcome = await card.merge(snapshot)
    assert isinstance(outcome, Conflicted) and [each.path for each in outcome.paths] == ["a.txt"]
    assert git(folder, "rev-parse", "main") == now and persons(folder) == before


@pytest.mark.parametrize(
    "autocrlf", ["true", *(pytest.param(each, marks=pytest.mark.long) for each in ("input", "false"))]
)
async def test_line_ends_are_what_the_persons_git_makes_of_them(
    worktrees: Worktrees, tmp_path: Path, autocrlf: str
) -> None:
    files = {
        "lf.txt": b"1\n2\n", "crlf.txt": b"1\r\n2\r\n", "mixed.txt": b"1\r\n2\n", "win.bat": b"@echo\n",
        "bin": b"\0\r\n",        "unix.sh": b"x\n", ".gitattributes": b"*.bat text eol=crlf\n*.sh text eol=lf\n",
    }  # fmt: skip
    folder = made(tmp_path / "repo", files)
    git(folder, "config", "core.autocrlf", autocrlf)
    for name in files:
        (folder / name).unlink()
    git(folder, "checkout", "-q", ".")
    card = await card_of(worktrees, await worktrees.open_repository(folder))
    for name in files:
        assert (card.made.path / name).read_bytes() == (folder / name).read_bytes(), name

    def work(path: Path) -> None:
        for name in set(files) - {".gitattributes"}:
            (path / name).write_bytes((path / name).read_bytes() + b"3\r\n")

    paths = await told(card, work, folder)
    assert set(paths) == set(files) - {".gitattributes"}
    assert b"\r" not in git_bytes(folder, "show", "main:win.bat")
    assert (folder / "win.bat").read_bytes() == b"@echo\r\n3\r\n"


async def test_a_system_that_knows_neither_modes_nor_links_nor_case(worktrees: Worktrees, tmp_path: Path) -> None:
    folder = made(
        tmp_path / "repo", {"Name": b"1\n", "name": b"2\n", "Dir/x": b"3\n", "dir/x": b"4\n", "run.sh": b"5\n"}
    )
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("name")
    commit_all(folder)
    for setting in (
        "core.fileMode=false",
        "core.symlinks=false",
        "core.ignoreCase=true",
        "core.precomposeUnicode=true",
    ):
        git(folder, "config", *setting.split("="))
    (folder / "link").unlink()
    git(folder, "checkout", "-q", "link")
    (folder / "run.sh").chmod(0o644)
    repo = await worktrees.open_repository(folder)

    def work(path: Path) -> None:
        fill(path, {"NAME": b"new\n", "Name": b"1 changed\n", "run.sh": b"5 changed\n", "Dir/y": b"y\n"})

    paths = await told(await card_of(worktrees, repo), work, folder)
    assert set(paths) == {"NAME", "Name", "run.sh", "Dir/y"}
    assert git(folder, "ls-tree", "main", "run.sh", "link").split()[::4] == ["120000", "100755"]


async def test_submodules_checked_out_or_not_are_left_as_they_are(worktrees: Worktrees, tmp_path: Path) -> None:
    inner = made(tmp_path / "inner", {"i.txt": b"i\n"})
    outer = made(tmp_path / "outer", {"o.txt": b"o\n"}, "--object-format=sha1")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    commit_all(outer)
    repo = await worktrees.open_repository(outer)
    (outer / "sub" / "i.txt").write_bytes(b"the person's\n")

    def work(path: Path) -> None:
        fill(path, {"o.txt": b"changed\n", "sub/agents": b"in the empty folder of a submodule\n"})

    assert await told(await card_of(worktrees, repo), work, outer) == ("o.txt",)
    assert (outer / "sub" / "i.txt").read_bytes() == b"the person's\n"
    # The submodule is a project itself, and so is a worktree of it: its checkout follows its branch.
    sub = await worktrees.open_repository(outer / "sub")
    git(outer / "sub", "checkout", "-q", "i.txt")
    await told(await card_of(worktrees, sub), lambda path: fill(path, {"new": b"n\n"}), outer / "sub")
    git(outer / "sub", "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = await worktrees.open_repository(tmp_path / "side")
    card = await card_of(worktrees, side, "main", "three")
    assert side.main_checkout == outer / "sub"
    fill(card.made.path, {"three": b"3\n"})
    assert isinstance(await card.merge(await card.snapshot()), Merged)
    assert (outer / "sub" / "three").read_bytes() == b"3\n" and git(outer / "sub", "status", "--porcelain") == ""


async def test_clones_that_hold_less_than_everything(worktrees: Worktrees, tmp_path: Path) -> None:
    source = made(tmp_path / "source", {"a.txt": b"1\n", "b.txt": b"1\n"})
    for number in range(2):
        fill(source, {"a.txt": b"%d\n" % number})
        commit_all(source)
    git(source, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{source}", "shallow")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{source}", "partial")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{source}", "empty")
    # A commit that was fetched, and whose files were not.
    fill(source, {"a.txt": b"later\n"})
    later = commit_all(source)
    git(tmp_path / "partial", "fetch", "-q", "origin")
    source.rename(tmp_path / "away")
    card = await card_of(worktrees, await worktrees.open_repository(tmp_path / "partial"), name="conflicting")
    fill(card.made.path, {"a.txt": b"mine\n"})
    snapshot = await card.snapshot()
    git(tmp_path / "partial", "checkout", "-q", "-b", "elsewhere")
    git(tmp_path / "partial", "update-ref", "refs/heads/main", later)
    with pytest.raises(AgentPaneError) as lacking:
        await card.merge(snapshot)
    assert lacking.value.code is ErrorCode.PROJECT_NOT_A_GIT_REPO and "partial clone" in lacking.value.message
    git(tmp_path / "partial", "update-ref", "refs/heads/main", card.base)
    git(tmp_path / "partial", "checkout", "-q", "main")
    for name in ("shallow", "partial"):
        repo = await worktrees.open_repository(tmp_path / name)
        git(repo.path, "checkout", "-q", "main" if name == "partial" else "--detach")
        await told(
            await card_of(worktrees, repo, "main"), lambda path: fill(path, {"a.txt": b"new\n"}), tmp_path / name
        )
    with pytest.raises(AgentPaneError) as refused:
        await card_of(worktrees, await worktrees.open_repository(tmp_path / "empty"))
    assert refused.value.code is ErrorCode.WORKTREE_CREATION_FAILED
    assert "partial clone" in refused.value.message and "--refetch --no-filter" in refused.value.hint
    assert git(tmp_path / "empty", "worktree", "list", "--porcelain").count("worktree ") == 1
    assert git(tmp_path / "empty", "for-each-ref", "refs/heads/agentpane", "refs/agentpane") == ""


async def bare_with_worktrees(place: Path) -> Path:
    """A bare repository as `.git` of a folder that holds nothing but worktrees."""
    source = made(place / "source", {"a.txt": b"1\n"}, "--object-format=sha256")
    (place / "top").mkdir()
    git(place, "clone", "-q", "--bare", str(source), "top/.git")
    git(place / "top", "worktree", "add", "-q", "main", "main")
    return place / "top" / "main"


async def test_a_worktree_of_a_bare_repository_and_the_repository_itself(worktrees: Worktrees, tmp_path: Path) -> None:
    folder = await bare_with_worktrees(tmp_path)
    (folder / "mine").write_bytes(b"not committed")
    repo = await worktrees.open_repository(folder)
    assert repo.main_checkout is None and repo.object_format == "sha256"
    await told(await card_of(worktrees, repo), lambda path: fill(path, {"new": b"n\n"}), folder)
    assert sorted(path.name for path in (tmp_path / "top").iterdir()) == [".git", "main"]
    bare = await worktrees.open_repository(tmp_path / "top" / ".git")
    card = await card_of(worktrees, bare, name="two")
    fill(card.made.path, {"two": b"2\n"})
    assert isinstance(await card.merge(await card.snapshot()), Merged)
    with pytest.raises(AgentPaneError) as refused:
        await worktrees.open_repository(tmp_path / "top")
    assert refused.value.code is ErrorCode.PROJECT_NOT_A_GIT_REPO and "core.bare false" in refused.value.hint


async def test_a_checkout_that_core_worktree_has_put_elsewhere(worktrees: Worktrees, tmp_path: Path) -> None:
    folder, elsewhere = made(tmp_path / "repo", {"a.txt": b"1\n"}), tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(folder, "config", "core.worktree", str(elsewhere))
    git(folder, "checkout", "-q", "-f", "main")
    with pytest.raises(AgentPaneError) as refused:
        await worktrees.open_repository(folder)
    assert refused.value.code is ErrorCode.PROJECT_PATH_INVALID and str(elsewhere) in refused.value.message
    git(folder, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    card = await card_of(worktrees, await worktrees.open_repository(tmp_path / "side"), "main")
    fill(card.made.path, {"new": b"n\n"})
    assert isinstance(await card.merge(await card.snapshot()), Merged)
    assert (elsewhere / "new").exists() and not (folder / "new").exists()


@pytest.mark.parametrize("broken", ["extension", "alternates", "config", "blob"])
async def test_a_repository_that_git_cannot_read_is_refused_with_what_to_do(
    worktrees: Worktrees, tmp_path: Path, broken: str
) -> None:
    source = made(tmp_path / "source", {"a.txt": b"1\n"})
    git(tmp_path, "clone", "-q", "--shared", str(source), "repo")
    folder, expected = tmp_path / "repo", ErrorCode.PROJECT_NOT_A_GIT_REPO
    if broken == "extension":
        git(folder, "config", "core.repositoryFormatVersion", "1")
        git(folder, "config", "extensions.refStorage", "notYetInvented")
        expected, words = ErrorCode.GIT_TOO_OLD, "Update git"
    elif broken == "alternates":
        source.rename(tmp_path / "away")
        words = "borrows from another"
    elif broken == "config":
        (folder / ".git/config").write_text("[core\n")
        words = ""
    else:
        blob = git(source, "rev-parse", "HEAD:a.txt")
        (source / ".git/objects" / blob[:2] / blob[2:]).unlink()
        expected, words = ErrorCode.WORKTREE_CREATION_FAILED, "git fsck"
    with pytest.raises(AgentPaneError) as refused:
        await card_of(worktrees, await worktrees.open_repository(folder))
    assert refused.value.code is expected and words in refused.value.hint
    assert not (folder / ".worktrees").exists()


LFS = """#!/bin/sh
if [ "$1" = clean ]; then echo "pointer $(wc -c)"; else read -r word size; printf "%0${size}d" 0; fi
"""


async def test_a_required_filter_refuses_until_it_is_allowed_and_is_then_used_everywhere(
    worktrees: Worktrees, tmp_path: Path, masked_host: Path
) -> None:
    program = tmp_path / "stand-in-lfs"
    program.write_text(LFS)
    program.chmod(0o755)
    for key, value in (("clean", f"{program} clean"), ("smudge", f"{program} smudge"), ("required", "true")):
        git(tmp_path, "config", "--global", f"filter.lfs.{key}", value)
    folder = made(tmp_path / "repo", {".gitattributes": b"*.bin filter=lfs -text\n", "a.bin": b"000", "t.txt": b"t\n"})
    assert git(folder, "show", "HEAD:a.bin") == "pointer 3"
    with pytest.raises(AgentPaneError) as refused:
        await worktrees.open_repository(folder)
    assert refused.value.code is ErrorCode.GIT_FILTER_REQUIRED and "lfs" in refused.value.message
    assert "--allow-filter lfs" in refused.value.hint
    worktrees.allow_filters(folder, frozenset({"lfs"}))
    repo: Repository = await worktrees.open_repository(folder)
    card = await card_of(worktrees, repo)
    assert (card.made.path / "a.bin").read_bytes() == b"000"
    # What the repository says of the filter does not replace the person's own.
    git(folder, "config", "filter.lfs.clean", f"touch {tmp_path}/planted; cat")
    fill(card.made.path, {"a.bin": b"0000"})
    assert git(folder, "show", f"{(await card.snapshot()).sha}:a.bin") == "pointer 4"
    assert not (tmp_path / "planted").exists()
    git(folder, "config", "--unset", "filter.lfs.clean")
    await told(card, lambda path: fill(path, {"a.bin": b"00000", "b.bin": b"00"}), folder)
    assert git(folder, "show", "main:a.bin") == "pointer 5"
    assert (folder / "a.bin").read_bytes() == b"00000" and (folder / "b.bin").read_bytes() == b"00"


@pytest.mark.long
async def test_a_file_of_several_gigabytes_is_refused_by_name_before_anything_is_read(
    worktrees: Worktrees, tmp_path: Path
) -> None:
    folder = made(tmp_path / "repo", {"a.txt": b"1\n"})
    card = await card_of(worktrees, await worktrees.open_repository(folder))
    (card.made.path / "huge").touch()
    os.truncate(card.made.path / "huge", 6 * 1024**3)
    with pytest.raises(AgentPaneError) as refused:
        await card.snapshot()
    assert refused.value.code is ErrorCode.VALIDATION_ERROR and "huge" in refused.value.message
    turn = await worktrees.turn_tree(card.repo, card.made.worktree, card.base)
    assert turn.left_out == ("huge",)
    sizes = git(folder, "count-objects", "-v").splitlines()
    assert sum(int(line.split()[1]) for line in sizes if line.startswith("size")) < 1024
