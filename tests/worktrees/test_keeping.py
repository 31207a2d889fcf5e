"""What is kept of a worktree: its turns, and everything it held before something of it is discarded."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import (
    Recovery,
    Repository,
    TurnTree,
    WorktreePlan,
    Worktrees,
    contents,
    recovery_ref,
    turn_ref,
)
from agentpane.worktrees import recovery as recoveries
from agentpane.worktrees.git import GitRunner, Place

from .conftest import Bench, bench_of, commit_all, git, git_bytes
from .kept import keep, laid_out, state

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
    monkeypatch.setattr("agentpane.worktrees.exact.AT_ONCE", 1_000)
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


async def turn(bench: Bench, number: int, before: str | None = None, excluded: tuple[str, ...] = ()) -> str | None:
    """Keep what a turn left, as the engine does. Returns the commit; None where nothing changed."""
    held = await tree_of(bench, excluded)
    start = before or git(bench.repo.path, "rev-parse", f"{bench.base}^{{tree}}")
    if held.tree == start:
        return None
    ref = turn_ref("run1", number)
    return (await bench.worktrees.keep_turn(bench.repo, bench.base, start, held.tree, ref)).sha


async def tree_of(bench: Bench, excluded: tuple[str, ...] = ()) -> TurnTree:
    return await bench.worktrees.turn_tree(bench.repo, bench.made.worktree, bench.base, excluded)


async def test_a_turn_is_kept_outside_of_the_branch_without_touching_the_worktrees_index(bench: Bench) -> None:
    index = (bench.made.git_dir / "index").read_bytes()
    assert await turn(bench, 1) is None  # nothing has changed
    (bench.path / "readme.md").write_text("# Changed\n")
    (bench.path / "new").write_text("one\ntwo\n")
    first = await tree_of(bench)
    taken = await bench.worktrees.keep_turn(
        bench.repo,
        bench.base,
        git(bench.repo.path, "rev-parse", f"{bench.base}^{{tree}}"),
        first.tree,
        "refs/agentpane/turn/r/1",
    )
    assert (taken.stat.files, taken.stat.added, taken.stat.removed) == (2, 3, 1)
    (bench.path / "new").unlink()
    commit_all(bench.path)  # an agent that commits by habit changes nothing in what its turns leave
    second = await tree_of(bench)
    assert git(bench.path, "rev-parse", "HEAD^{tree}") == second.tree != first.tree
    later = await bench.worktrees.keep_turn(bench.repo, bench.base, first.tree, second.tree, "refs/agentpane/turn/r/2")
    assert (later.stat.files, later.stat.removed) == (1, 2)
    assert git(bench.repo.path, "rev-parse", f"{later.sha}^") == bench.base
    assert git(bench.path, "rev-parse", f"{taken.sha}^") == bench.base
    git(bench.path, "reset", "-q", "--soft", bench.base)
    assert (bench.made.git_dir / "index").read_bytes() != index  # by the commit above, and by nothing else


async def test_a_turn_leaves_out_what_is_excluded_too_large_or_a_repository_and_says_so(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentpane.worktrees.turns.LARGEST_FILE", 1_000)
    (repo.path / "local.env").write_text("KEY=secret")
    bench = await bench_of(worktrees, repo, ("local.env",))
    (bench.path / "big").write_bytes(b"x" * 1_001)
    (bench.path / "readme.md").write_bytes(b"y" * 1_001)
    nested = bench.path / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "code").write_text("x")
    (bench.path / "small").write_text("kept")
    git(bench.path, "add", "-f", "local.env")
    git(bench.path, "commit", "-q", "-m", "An agent commits a secret")
    held = await tree_of(bench, ("local.env",))
    assert held.left_out == ("big", "readme.md", "nested")
    listed = git(bench.repo.path, "ls-tree", "-r", "--name-only", held.tree).split()
    assert listed == ["readme.md", "run.sh", "small", "src/app.py"]
    assert git(bench.repo.path, "show", f"{held.tree}:readme.md") == "# Sample"


async def test_an_index_left_in_pieces_is_made_anew(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    first = await tree_of(bench)
    (index,) = [file for file in bench.worktrees._git.private.iterdir() if file.name.startswith("turns-")]
    index.with_name(f"{index.name}.lock").touch()  # a git that was killed
    (bench.path / "new").write_text("y")
    second = await tree_of(bench)
    assert first.tree != second.tree == (await tree_of(bench)).tree
    index.write_bytes(b"torn")
    assert (await tree_of(bench)).tree == second.tree


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


async def test_refs_that_have_moved_or_are_not_ours_are_never_deleted(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    kept = await keep(bench)
    await bench.worktrees.delete_refs(bench.repo, {kept.ref: bench.base, "refs/agentpane/turn/none/1": bench.base})
    assert await bench.worktrees.ref_tip(bench.repo, kept.ref) == kept.sha
    with pytest.raises(ValueError, match="not a ref of ours"):
        await bench.worktrees.delete_refs(bench.repo, {"refs/heads/main": bench.base})
    await bench.worktrees.delete_refs(bench.repo, {kept.ref: kept.sha})
    assert await bench.worktrees.ref_tip(bench.repo, kept.ref) is None


async def test_turns_of_several_worktrees_at_once_do_not_meet(worktrees: Worktrees, repo: Repository) -> None:
    base = (await worktrees.base_branch(repo, "main")).sha
    made = [
        await worktrees.create_worktree(repo, WorktreePlan(repo.path / ".worktrees" / name, f"agentpane/{name}", base))
        for name in "abc"
    ]
    for each in made:
        (each.path / "own").write_text(each.path.name)
    held = await asyncio.gather(*(worktrees.turn_tree(repo, each.worktree, base) for each in made))
    assert [git(repo.path, "show", f"{each.tree}:own") for each in held] == ["a", "b", "c"]
