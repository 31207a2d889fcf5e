"""Setting a worktree back to what a turn left, or to a commit; what would be lost is kept first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Recovery
from agentpane.worktrees.git.runner import GitOutput, GitRunner, Place
from agentpane.worktrees.keeping import contents, restore

from .conftest import Bench, commit_all, git
from .kept import keep, state, tree_of, turn


async def test_a_worktree_is_set_back_to_a_turn_exactly_and_its_branch_stays(bench: Bench) -> None:
    (bench.path / ".gitignore").write_text(".env\nbuild/\n")
    (bench.path / "new").write_text("as it was")
    (bench.path / "tool").write_text("#!/bin/sh\n")
    (bench.path / "tool").chmod(0o755)
    (bench.path / "link").symlink_to("new")
    (bench.path / "src" / "deep").mkdir()
    (bench.path / "src" / "deep" / "file").write_text("deep")
    then = state(bench.path)
    taken = await turn(bench, 1)
    assert taken is not None
    (bench.path / ".env").write_text("KEY=1")
    made = await bench.snap()
    (bench.path / "new").unlink()
    (bench.path / "new").mkdir()
    (bench.path / "new" / "build").mkdir()
    (bench.path / "new" / "build" / "ignored").write_text("in the way")
    (bench.path / "later" / "still").mkdir(parents=True)
    (bench.path / "later" / "still" / "file").write_text("later")
    (bench.path / "tool").chmod(0o644)
    (bench.path / "link").unlink()
    (bench.path / "src" / "deep" / "file").unlink()
    (bench.path / "src" / "deep").rmdir()
    (bench.path / "src" / "deep").symlink_to("..")
    (bench.path / "readme.md").unlink()
    nested = bench.path / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "code").write_text("stays")
    asked: list[tuple[str, ...]] = []

    async def note(also: tuple[str, ...]) -> None:
        assert asked or (bench.path / "later" / "still" / "file").exists()  # it is asked before anything goes
        asked.append(also)

    changed = await bench.worktrees.set_back(bench.repo, bench.made.worktree, taken, (".env",), note)
    assert asked == [("new", "src/deep")]
    left = state(bench.path)
    assert {name: left[name] for name in then} == then
    assert set(left) - set(then) == {".env", "nested/code"}
    assert not (bench.path / "later").exists()
    assert changed == 7
    assert git(bench.path, "rev-parse", "HEAD") == made.sha == git(bench.repo.path, "rev-parse", bench.made.branch)
    assert (await tree_of(bench)).tree == git(bench.repo.path, "rev-parse", f"{taken}^{{tree}}")
    assert await bench.worktrees.set_back(bench.repo, bench.made.worktree, taken, (".env",), note) == 0


async def test_what_is_ignored_before_or_after_is_not_touched(bench: Bench) -> None:
    (bench.path / ".gitignore").write_text("kept/\n")
    (bench.path / "kept").mkdir()
    (bench.path / "kept" / "file").write_text("ignored by the rules of then")
    taken = await turn(bench, 1)
    assert taken is not None
    (bench.path / ".gitignore").write_text("*.log\n")
    (bench.path / "some.log").write_text("ignored by the rules of today")
    (bench.path / "gone").write_text("ignored by neither")

    async def agree(also: tuple[str, ...]) -> None:
        assert also == (".gitignore",)  # what will be replaced and is in no commit

    await bench.worktrees.set_back(bench.repo, bench.made.worktree, taken, (), agree)
    found = set(state(bench.path))
    assert {"kept/file", "some.log"} <= found and "gone" not in found


@pytest.mark.parametrize("to", ["a turn", "the base"])
async def test_an_ignored_file_in_whose_place_one_comes_is_kept_first(bench: Bench, to: str) -> None:
    (bench.path / "notes").write_text("as the turn left it")
    commit = await turn(bench, 1) if to == "a turn" else bench.base
    assert commit is not None
    path = "notes" if to == "a turn" else "readme.md"
    (bench.path / path).unlink()
    (bench.path / ".gitignore").write_text(f"{path}\n*.log\n")
    commit_all(bench.path)
    (bench.path / path).write_text("precious")
    (bench.path / "some.log").write_text("is not touched")
    asked: list[tuple[str, ...]] = []

    async def keeping(also: tuple[str, ...]) -> None:
        asked.append(also)
        kept = await keep(bench, also)
        assert git(bench.repo.path, "show", f"{kept.sha}:{path}") == "precious"

    await bench.worktrees.set_back(bench.repo, bench.made.worktree, commit, (), keeping)
    assert asked == [(path,)]
    assert git(bench.path, "hash-object", path) == git(bench.repo.path, "rev-parse", f"{commit}:{path}")
    assert (bench.path / "some.log").exists()


async def test_what_is_saved_while_a_worktree_is_kept_is_kept_once_more(bench: Bench) -> None:
    (bench.path / "readme.md").write_text("changed\n")
    (bench.path / "run.sh").unlink()
    (bench.path / "run.sh").mkdir()
    (bench.path / "run.sh" / "one").write_text("in the way")
    saved = iter(("readme.md", "run.sh/two", None))
    kept: list[Recovery] = []

    async def keeping(also: tuple[str, ...]) -> None:
        kept.append(await keep(bench, also, f"r{len(kept)}"))
        path = next(saved)
        if path is not None:
            (bench.path / path).write_text("precious")

    await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), keeping)
    assert len(kept) == 3
    for path in ("readme.md", "run.sh/two"):
        assert git(bench.repo.path, "show", f"{kept[-1].sha}:{path}") == "precious"
    assert git(bench.path, "status", "--porcelain") == ""

    (bench.path / "readme.md").write_text("changed\n")
    before = (bench.path / "readme.md").stat().st_size

    async def never_still(also: tuple[str, ...]) -> None:
        with (bench.path / "readme.md").open("a") as file:
            file.write("more")

    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), never_still)
    assert caught.value.code is ErrorCode.RESOURCE_LOCKED
    assert (bench.path / "readme.md").stat().st_size > before


async def test_a_new_file_that_is_saved_after_it_was_kept_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.path / "new").write_text("kept")
    (bench.path / "other").write_text("kept")
    whole = contents.list_changes
    listed: list[Path] = []

    async def saving(git_: GitRunner, place: Place, index: Path, staged: tuple[str, ...] = ()) -> contents.Listing:
        listed.append(index)
        if listed.count(index) == 2:  # it is looked once more before anything is deleted
            (bench.path / "new").write_text("precious")
        return await whole(git_, place, index, staged)

    async def keeping(also: tuple[str, ...]) -> None:
        await keep(bench, also)

    monkeypatch.setattr(contents, "list_changes", saving)
    await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), keeping)
    assert (bench.path / "new").read_text() == "precious" and not (bench.path / "other").exists()


def at_each_checkout(monkeypatch: pytest.MonkeyPatch, happens: Callable[[int], None]) -> None:
    """Let one file be laid out at a time, and something happen before each of them but the first, numbered from 1."""
    whole = GitRunner.run
    done: list[int] = []

    async def meanwhile(self: GitRunner, place: Place, *arguments: str, **options: Any) -> GitOutput:
        output = await whole(self, place, *arguments, **options)
        if arguments[0] == "checkout-index":
            done.append(len(done) + 1)
            happens(done[-1])
        return output

    monkeypatch.setattr(restore, "_AT_ONCE", 1)
    monkeypatch.setattr(restore, "_CALLS", 1000)
    monkeypatch.setattr(GitRunner, "run", meanwhile)


@pytest.mark.parametrize("branch", [False, True], ids=["to a turn", "afresh"])
async def test_what_is_saved_while_files_are_laid_out_is_kept_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, branch: bool
) -> None:
    """A changed file, one that was not there, and one in a folder that lies where a file has to go."""
    for path in ("readme.md", "run.sh", "src/app.py"):
        (bench.path / path).write_text("the agent's\n")
    commit_all(bench.path)
    (bench.path / "run.sh").unlink()
    (bench.path / "src" / "app.py").unlink()
    (bench.path / "src" / "app.py").mkdir()
    kept: list[Recovery] = []

    async def keeping(also: tuple[str, ...]) -> None:
        kept.append(await keep(bench, also, f"r{len(kept)}"))

    def save(number: int) -> None:
        if number == 1:
            (bench.path / "run.sh").write_text("precious")
            (bench.path / "src" / "app.py" / "inner").write_text("precious")

    at_each_checkout(monkeypatch, save)
    await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), keeping, branch)
    assert git(bench.repo.path, "show", f"{kept[0].sha}:readme.md") == "the agent's"
    assert len(kept) == 2
    for path in ("run.sh", "src/app.py/inner"):
        assert git(bench.repo.path, "show", f"{kept[1].sha}:{path}") == "precious"
    assert git(bench.path, "diff", "--name-only", bench.base) == git(bench.path, "ls-files", "--others") == ""


async def test_setting_back_ends_in_the_middle_where_something_keeps_writing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("readme.md", "run.sh"):
        (bench.path / path).write_text("the agent's\n")
    asked: list[tuple[str, ...]] = []

    def write(number: int = 1) -> None:
        with (bench.path / "run.sh").open("a") as file:
            file.write("precious")

    async def never_still(also: tuple[str, ...]) -> None:
        asked.append(also)
        if len(asked) > 1:
            write()

    at_each_checkout(monkeypatch, write)
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), never_still)
    assert caught.value.code is ErrorCode.RESOURCE_LOCKED and "in part" in caught.value.message
    assert (bench.path / "run.sh").read_text() == "the agent's\n" + 4 * "precious"


async def test_nothing_is_set_back_when_what_is_there_cannot_be_kept(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    before = state(bench.path)

    async def refuse(also: tuple[str, ...]) -> None:
        raise AgentPaneError(ErrorCode.STORE_FULL, "The disk is full.")

    with pytest.raises(AgentPaneError):
        await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), refuse)
    assert state(bench.path) == before


async def test_what_stays_is_left_as_it_is(bench: Bench) -> None:
    (bench.path / "big").write_text("too large for a turn")
    (bench.path / "folder").mkdir()
    (bench.path / "folder" / "copied").write_text("copied in")

    async def agree(also: tuple[str, ...]) -> None:
        assert also == ()

    await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, ("big", "folder"), agree)
    assert {"big", "folder/copied"} <= set(state(bench.path))
