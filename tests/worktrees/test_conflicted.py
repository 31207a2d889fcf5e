"""Laying out a conflict of every kind, and the commit with both parents that comes of what somebody made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentpane.domain.resolving import LaidPath, Layout, Merging, Resolver, Stage, what_to_do
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import (
    Merged,
    MergePlan,
    MergeStrategy,
    NothingChanged,
    Repository,
    Snapshot,
    WorktreePlan,
    Worktrees,
)
from agentpane.worktrees.conflicts.conflicted import name_sides
from tests.worktrees.conftest import Journal, git

SUBMODULES = {"base": "1" * 40, "card": "2" * 40, "main": "3" * 40}


@dataclass
class Stand:
    """A card's worktree with a snapshot, a target that went another way, and the conflict laid out in it."""

    worktrees: Worktrees
    repo: Repository
    path: Path
    plan: WorktreePlan
    base: str
    merging: Merging

    @property
    def laid(self) -> Mapping[str, LaidPath]:
        return {each.beside or each.path: each for each in self.merging.paths}

    async def take(self) -> Snapshot | NothingChanged:
        found = await self.worktrees.find_worktree(self.repo, self.path)
        return await self.worktrees.snapshot(self.repo, found, self.base, "run2", "Resolved\n", (), self.merging)

    async def refused(self) -> Mapping[str, list[int]]:
        with pytest.raises(AgentPaneError) as caught:
            await self.take()
        assert caught.value.code is ErrorCode.MERGE_CONFLICT
        left = caught.value.details["undecided"]
        assert isinstance(left, list)
        return {each["path"]: each["lines"] for each in left}


class Program(bytes):
    """A file that can be executed."""


def apply(where: Path, files: Mapping[str, bytes | str | None]) -> None:
    """Text is the target of a link, None takes a file away."""
    for name, content in files.items():
        file = where / name
        if file.is_symlink() or file.is_file():
            file.unlink()
        if content is None:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            file.symlink_to(content)
        else:
            file.write_bytes(content)
            file.chmod(0o755 if isinstance(content, Program) else 0o644)


async def stand(
    worktrees: Worktrees,
    repo: Repository,
    base: Mapping[str, bytes | str | None],
    card: Mapping[str, bytes | str | None],
    main: Mapping[str, bytes | str | None],
    submodule: bool = False,
) -> Stand:
    """A card and a target that both went on from `base`; their conflict lies in the card's worktree."""

    def commit(where: Path, files: Mapping[str, bytes | str | None], side: str) -> str:
        apply(where, files)
        git(where, "add", "-A")
        if submodule:
            git(where, "update-index", "--add", "--cacheinfo", f"160000,{SUBMODULES[side]},sub")
        git(where, "commit", "-q", "-m", side)
        return git(where, "rev-parse", "HEAD")

    begun = commit(repo.path, base, "base")
    plan = WorktreePlan(repo.path / ".worktrees" / "one", "agentpane/one-abc123", begun)
    made = await worktrees.create_worktree(repo, plan)
    commit(made.path, card, "card")
    first = await worktrees.snapshot(repo, made.worktree, begun, "run1", "Snapshot\n")
    assert isinstance(first, Snapshot)
    target = commit(repo.path, main, "main")
    laid = await worktrees.lay_out_conflict(repo, first.sha, target, "main", "run1")
    assert laid is not None
    merging = Merging(
        "main", target, first.sha, laid.laid, "run1", first.sha, Resolver.PERSON, Stage.WRITTEN, laid.paths
    )

    async def keep(lost: tuple[str, ...]) -> None:
        assert set(lost) <= {"df"}  # which the card's snapshot has

    await worktrees.set_back(repo, made.worktree, laid.laid, (), keep)
    return Stand(worktrees, repo, made.path, plan, begun, merging)


TEXT = b"".join(b"line %d\n" % number for number in range(12))
CRLF = TEXT.replace(b"\n", b"\r\n")
BASE: dict[str, bytes | str | None] = {
    "text": TEXT,
    "crlf": CRLF,
    "bin": b"a\0b",
    "moddel": b"kept by the card\n",
    "delmod": b"kept by main\n",
    "ren": TEXT + b"ren\n",
    "renlate": TEXT + b"late\n",
    "link": "there",
    "d/f": b"f\n",
    "clean": TEXT,
}
CARD: dict[str, bytes | str | None] = {
    "text": TEXT.replace(b"line 5\n", b"card 5\n").replace(b"line 1\n", b"line 1 by the card\n"),
    "crlf": CRLF.replace(b"line 5\r", b"card 5\r"),
    "bin": b"a\0card",
    "moddel": b"changed by the card\n",
    "delmod": None,
    "ren": None,
    "rencard": TEXT + b"ren\n",
    "renlate": None,
    "renlate2": TEXT + b"late, and changed\n",
    "link": "card",
    "addadd": b"of the card\n",
    "df": b"a file\n",
    "lf": b"a file\n",
    "d/new": b"new in d\n",
    "clean": TEXT.replace(b"line 1\n", b"1\n"),
}
MAIN: dict[str, bytes | str | None] = {
    "text": TEXT.replace(b"line 5\n", b"main 5\n").replace(b"line 10\n", b"line 10 by main\n"),
    "crlf": CRLF.replace(b"line 5\r", b"main 5\r"),
    "bin": b"a\0main",
    "moddel": None,
    "delmod": b"changed by main\n",
    "ren": None,
    "renmain": TEXT + b"ren\n",
    "renlate": None,
    "link": "main",
    "addadd": b"of main\n",
    "df/inside": b"a folder\n",
    "lf": "a link",
    "d/f": None,
    "dd/f": b"f\n",
    "clean": TEXT.replace(b"line 10\n", b"10\n"),
}


async def test_every_kind_of_conflict_is_laid_out_with_both_sides_and_told(
    worktrees: Worktrees, repo: Repository
) -> None:
    here = await stand(worktrees, repo, BASE, CARD, MAIN, submodule=True)
    layouts = {name: (each.path, each.layout) for name, each in here.laid.items()}
    assert layouts == {
        "text": ("text", Layout.MARKED),
        "crlf": ("crlf", Layout.MARKED),
        "addadd": ("addadd", Layout.MARKED),
        "bin~main": ("bin", Layout.BOTH),
        "link~main": ("link", Layout.BOTH),
        "moddel~card": ("moddel", Layout.CARD),
        "delmod~main": ("delmod", Layout.TARGET),
        "rencard~card": ("rencard", Layout.CARD),
        "renmain~main": ("renmain", Layout.TARGET),
        "renlate2~card": ("renlate2", Layout.CARD),
        "df~card": ("df", Layout.CARD),
        "lf~card": ("lf", Layout.CARD),
        "lf~main": ("lf", Layout.TARGET),
        "dd/new~card": ("dd/new", Layout.CARD),
        "sub~submodule": ("sub", Layout.POINTER),
    }
    kinds = {name: each.kind for name, each in here.laid.items()}
    assert kinds["addadd"] == "add/add" and kinds["bin~main"] == "binary" and kinds["moddel~card"] == "modify/delete"
    assert kinds["renlate2~card"] == "rename/delete" and kinds["renmain~main"] == "rename/rename"
    assert kinds["df~card"] == "file/directory" and kinds["sub~submodule"] == "submodule"
    held = {name: (here.path / name) for name in layouts}
    assert held["text"].read_bytes() == (
        TEXT.replace(b"line 1\n", b"line 1 by the card\n")
        .replace(b"line 10\n", b"line 10 by main\n")
        .replace(
            b"line 5\n",
            b"<<<<<<< this card\ncard 5\n||||||| before both\nline 5\n=======\nmain 5\n>>>>>>> main\n",
        )
    )
    assert b"<<<<<<< this card\r\ncard 5\r\n||||||| before both\r\n" in held["crlf"].read_bytes()
    assert b"=======\r\nmain 5\r\n>>>>>>> main\r\n" in held["crlf"].read_bytes()
    assert ((here.path / "bin").read_bytes(), held["bin~main"].read_bytes()) == (b"a\0card", b"a\0main")
    assert ((here.path / "link").readlink(), held["link~main"].readlink()) == (Path("card"), Path("main"))
    assert held["moddel~card"].read_bytes() == b"changed by the card\n" and not (here.path / "moddel").exists()
    assert held["delmod~main"].read_bytes() == b"changed by main\n" and not (here.path / "delmod").exists()
    assert held["df~card"].read_bytes() == b"a file\n" and (here.path / "df" / "inside").exists()
    assert held["lf~card"].read_bytes() == b"a file\n" and held["lf~main"].readlink() == Path("a link")
    assert (here.path / "clean").read_bytes() == TEXT.replace(b"line 1\n", b"1\n").replace(b"line 10\n", b"10\n")
    assert (
        held["sub~submodule"].read_text().split()
        == (
            f"<<<<<<< this card Subproject commit {'2' * 40} ||||||| before both Subproject commit {'1' * 40} "
            f"======= Subproject commit {'3' * 40} >>>>>>> main"
        ).split()
    )
    for each in here.merging.paths:
        assert what_to_do(each, "main").startswith(f"{each.path} ({each.kind}): ")


async def test_as_long_as_something_is_undecided_nothing_is_committed_and_each_place_is_named(
    worktrees: Worktrees, repo: Repository
) -> None:
    here = await stand(worktrees, repo, BASE, CARD, MAIN, submodule=True)
    left = await here.refused()
    assert left.keys() == here.laid.keys()
    assert (left["text"], left["bin~main"], left["addadd"]) == ([6, 8, 10, 12], [], [1, 3, 4, 6])
    assert git(here.path, "rev-parse", here.plan.branch) == here.merging.card
    # A marker that was left half is found; a file into which one was moved, too.
    (here.path / "text").write_bytes(TEXT.replace(b"line 5\n", b"card 5\n=======\nmain 5\n"))
    (here.path / "addadd").rename(here.path / "elsewhere")
    left = await here.refused()
    assert (left["text"], left["elsewhere"]) == ([7], [1, 3, 4, 6]) or left["text"] == [7]
    assert "addadd" not in left and left["elsewhere"] == [1, 3, 6]


async def test_what_was_decided_becomes_one_commit_on_both_sides_that_merges_cleanly(
    worktrees: Worktrees, repo: Repository
) -> None:
    here = await stand(worktrees, repo, BASE, CARD, MAIN, submodule=True)
    path = here.path
    (path / "text").write_bytes(TEXT.replace(b"line 5\n", b"both 5\n"))
    (path / "crlf").write_bytes(CRLF)
    (path / "addadd").write_bytes(b"of both\n")
    (path / "bin~main").rename(path / "bin")
    (path / "link~main").unlink()
    (path / "moddel~card").rename(path / "moddel")
    (path / "delmod~main").unlink()
    (path / "rencard~card").rename(path / "rencard")
    (path / "renmain~main").unlink()
    (path / "renlate2~card").rename(path / "renlate2")
    (path / "df~card").rename(path / "df-file")
    (path / "lf~card").rename(path / "lf")
    (path / "lf~main").unlink()
    (path / "dd" / "new~card").rename(path / "dd" / "new")
    (path / "sub~submodule").write_text(f"Subproject commit {'3' * 40}\n")
    taken = await here.take()
    assert isinstance(taken, Snapshot)
    assert git(path, "rev-list", "--parents", "-n1", taken.sha).split()[1:] == [here.merging.card, here.merging.sha]
    names = git(path, "ls-tree", "-r", "--name-only", taken.sha).split("\n")
    assert not [name for name in names if "~" in name] and not (path / "sub~submodule").exists()
    assert {"moddel", "rencard", "renlate2", "df-file", "dd/new", "df/inside", "sub"} <= set(names)
    assert git(path, "rev-parse", f"{taken.sha}:sub") == "3" * 40
    assert git(path, "cat-file", "blob", f"{taken.sha}:bin") == "a\0main"
    assert git(path, "status", "--porcelain") == ""
    assert taken.base == here.merging.sha and await here.take() == taken  # once more is the same
    for strategy in (MergeStrategy.FF, MergeStrategy.SQUASH, MergeStrategy.MERGE):
        plan = MergePlan("main", taken.sha, "run2", strategy, "Merge\n", taken.base)
        before = git(repo.path, "rev-parse", "main")
        merged = await worktrees.merge(repo, plan, Journal())
        assert isinstance(merged, Merged) and merged.tree == taken.tree
        expected = {"ff": [here.merging.card, before], "squash": [before], "merge": [before, taken.sha]}[strategy]
        assert git(repo.path, "rev-list", "--parents", "-n1", merged.commit).split()[1:] == expected
        git(repo.path, "reset", "-q", "--hard", before)


async def test_a_resolution_that_takes_the_targets_side_alone_leaves_nothing_to_review(
    worktrees: Worktrees, repo: Repository
) -> None:
    here = await stand(worktrees, repo, {"a": b"1\n"}, {"a": b"2\n"}, {"a": b"3\n"})
    (here.path / "a").write_bytes(b"3\n")
    assert isinstance(await here.take(), NothingChanged)
    (here.path / "a").write_bytes(b"2\n")  # the card's side alone is a change of the target's
    taken = await here.take()
    assert isinstance(taken, Snapshot) and taken.stat.files == 1


async def test_a_worktree_that_was_set_to_the_cards_files_decides_nothing(
    worktrees: Worktrees, repo: Repository
) -> None:
    here = await stand(worktrees, repo, {"a": b"1\n"}, {"a": b"2\n"}, {"a": b"3\n", "b": b"of main\n"})
    git(here.path, "checkout", "-q", "--", ".")
    (here.path / "b").unlink()
    with pytest.raises(AgentPaneError) as caught:
        await here.take()
    assert caught.value.code is ErrorCode.MERGE_CONFLICT and caught.value.details["paths"] == ["b"]


async def test_names_in_the_way_separators_and_odd_names_are_respected(worktrees: Worktrees, repo: Repository) -> None:
    odd = b"caf\xe9\nname".decode("utf-8", "surrogateescape")
    long = "x" * 253
    base: dict[str, bytes | str | None] = {odd: b"\0", long: b"\0", "run~main": b"mine\n", "run": b"\0"}
    base["title.rst"] = b"Title\n=======\n\none\n"
    ours = {odd: b"\0card", long: b"\0card", "run": b"\0card", "title.rst": b"Title\n=======\n\ncard\n"}
    theirs = {odd: b"\0main", long: b"\0main", "run": b"\0main", "title.rst": b"Title\n=======\n\nmain\n"}
    here = await stand(worktrees, repo, base, ours, theirs)
    assert here.laid.keys() == {f"{odd}~main", "x" * 250 + "~main", "run~main_1", "title.rst"}
    assert (here.path / "run~main").read_bytes() == b"mine\n"
    (here.path / "title.rst").write_bytes(b"Title\n=======\n\nboth\n")
    for beside in here.laid.keys() - {"title.rst"}:
        (here.path / beside).unlink()
    taken = await here.take()
    assert isinstance(taken, Snapshot) and taken.stat.files == 4


async def test_a_mode_is_decided_like_a_version_and_what_git_ignores_takes_part(
    worktrees: Worktrees, repo: Repository
) -> None:
    theirs = {".gitignore": b"*~*\nkept\n", "tool": Program(b"x\n"), "kept": b"tracked, though ignored\n"}
    here = await stand(worktrees, repo, {"kept": b"1\n"}, {"tool": b"x\n"}, theirs)
    assert {name: each.kind for name, each in here.laid.items()} == {"tool~main": "mode"}
    assert (here.path / "tool~main").stat().st_mode & 0o100 and not (here.path / "tool").stat().st_mode & 0o100
    assert (await here.refused()).keys() == {"tool~main"}
    (here.path / "tool~main").rename(here.path / "tool")
    taken = await here.take()
    assert isinstance(taken, NothingChanged)
    (here.path / "tool").chmod(0o644)
    taken = await here.take()
    assert isinstance(taken, Snapshot)
    assert git(here.path, "ls-tree", taken.sha, "tool").startswith("100644")
    assert git(here.path, "show", f"{taken.sha}:kept") == "tracked, though ignored"


async def test_a_submodule_that_one_side_drops_or_replaces_is_decided_in_its_file(
    worktrees: Worktrees, repo: Repository
) -> None:
    here = await stand(worktrees, repo, {"a": b"1\n"}, {"a": b"2\n"}, {"a": b"3\n"}, submodule=True)
    (here.path / "a").write_bytes(b"4\n")
    pointer = here.path / "sub~submodule"
    for undecided in (f"Subproject commit {'2' * 40}\nSubproject commit {'3' * 40}\n", "Subproject commit 22\n", "?\n"):
        pointer.write_text(undecided)
        assert (await here.refused()).keys() == {"sub~submodule"}
    pointer.unlink()
    taken = await here.take()
    assert isinstance(taken, Snapshot) and "sub" not in git(here.path, "ls-tree", "--name-only", taken.sha).split()


def test_only_gits_own_markers_of_these_two_commits_get_names() -> None:
    ours, theirs = "a" * 40, "b" * 40
    text = f"<<<<<<< {ours}:old name\nx\n||||||| 1234567\n=======\ny\n>>>>>>> {theirs}\n<<<<<<< HEAD\n".encode()
    assert name_sides(text, ours, theirs, "dev/x") == (
        b"<<<<<<< this card\nx\n||||||| before both\n=======\ny\n>>>>>>> dev/x\n<<<<<<< HEAD\n"
    )
    assert name_sides(b"<<<<<<< HEAD\n=======\n>>>>>>> x\n", ours, theirs, "main") is None
