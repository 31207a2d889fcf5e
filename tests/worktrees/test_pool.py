"""A worktree that is kept ready is handed over without git, and only as git itself would have made it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Repository, Worktree, WorktreePlan, Worktrees
from agentpane.worktrees.git import runner as git_module
from agentpane.worktrees.git.config import ConfigCache
from agentpane.worktrees.refs.ref_files import Signature
from agentpane.worktrees.trees import pool as pool_module
from agentpane.worktrees.trees.pool import NewBranch
from agentpane.worktrees.trees.seal import is_sealed
from tests.worktrees.conftest import commit_all, git

BRANCH = "agentpane/one-abc123"
BY = Signature("Somebody <somebody@localhost>", logged=True)


def card_path(repo: Repository) -> Path:
    return repo.path / ".worktrees" / "one-abc123"


async def made_ready(worktrees: Worktrees, repo: Repository, name: str = "ready-1") -> tuple[Worktree, str]:
    base = (await worktrees.base_branch(repo, "main")).sha
    return await worktrees.ready.make(repo, repo.path / ".worktrees" / name, base, f"mark-{name}"), base


async def new_branch(worktrees: Worktrees, repo: Repository, wanted: str = BRANCH) -> NewBranch:
    found = await worktrees.ready.free_branch(repo, wanted)
    assert found is not None
    return found


async def handed_over(worktrees: Worktrees, repo: Repository, ready: Worktree, base: str) -> Worktree | None:
    return await worktrees.ready.hand_over(repo, ready, base, card_path(repo), NewBranch(BRANCH, BY))


class Started:
    """Which git commands were started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        run = git_module.Child.run

        def counted(child: git_module.Child, *arguments: object) -> tuple[int, bytes, bytes]:
            self.commands.append(" ".join(child._command))
            return run(child, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(git_module.Child, "run", counted)


async def test_a_ready_worktree_becomes_a_cards_without_starting_git(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A configuration that was only just written is read anew at every call.
    monkeypatch.setattr(ConfigCache, "clock", staticmethod(lambda: time.time_ns() + 2_000_000_000))
    ready, base = await made_ready(worktrees, repo)
    assert git(ready.path, "status", "--porcelain", "--ignored") == "" == git(ready.path, "branch", "--show-current")
    assert git(repo.path, "status", "--porcelain") == ""
    started = Started(monkeypatch)
    branch = await new_branch(worktrees, repo)
    assert branch.name == BRANCH
    card = await worktrees.ready.hand_over(repo, ready, base, card_path(repo), branch)
    assert started.commands == []
    assert card == Worktree(card_path(repo), ready.git_dir, BRANCH, "mark-ready-1")
    assert git(card.path, "branch", "--show-current") == BRANCH and git(card.path, "rev-parse", "HEAD") == base
    assert git(card.path, "status", "--porcelain", "--ignored") == ""
    assert await worktrees.why_not_ours(repo, card) is None and not ready.path.exists()
    listed = (await worktrees.list_worktrees(repo))[1]
    assert (listed.path, listed.branch, listed.locked) == (card.path, BRANCH, False)
    assert git(card.path, "reflog", BRANCH).endswith(f"branch: Created from {base} for worktree mark-ready-1")
    assert "Ada <ada@example.org>" in (repo.common_dir / "logs/refs/heads" / BRANCH).read_text()
    git(card.path, "fsck")
    (card.path / "new").write_text("x")
    assert commit_all(card.path) == git(repo.path, "rev-parse", BRANCH)


async def test_an_edit_of_the_same_size_right_after_the_taking_over_is_seen(
    worktrees: Worktrees, repo: Repository
) -> None:
    card = await handed_over(worktrees, repo, *await made_ready(worktrees, repo))
    assert card is not None
    (card.path / "readme.md").write_bytes(b"# Sampla\n")
    assert git(card.path, "status", "--porcelain") == " M readme.md"


ODD_FILES: dict[str, bytes] = {
    ".gitattributes": b"*.txt text\n*.crlf text eol=crlf\n*.id ident\n*.utf16 text working-tree-encoding=UTF-16\n"
    b"*.up filter=upper\n*.bin binary\n",
    "a.txt": b"one\ntwo\n",
    "b.crlf": b"one\r\ntwo\r\n",
    "c.id": b"$Id$\n",
    "d.utf16": "grüße\n".encode("utf-16"),
    "e.up": b"shout\n",
    "f.bin": b"\r\n\0\r\n",
    "deep/er/run.sh": b"#!/bin/sh\n",
    "na\nme -\xc3\xa9": b"odd\n",
}


def laid_out(root: Path) -> dict[str, tuple[int, bytes]]:
    """Each file's mode and bytes, or a link's target; git's own pointer aside."""
    found: dict[str, tuple[int, bytes]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*files, *(each for each in folders if os.path.islink(os.path.join(folder, each)))):
            path = Path(folder, name)
            link = path.is_symlink()
            content = os.fsencode(os.readlink(path)) if link else path.read_bytes()
            found[os.path.relpath(path, root)] = (path.lstat().st_mode, content)
    del found[".git"]
    return found


@pytest.mark.parametrize("autocrlf", ["false", "true", "input"])
async def test_files_modes_and_index_are_those_of_gits_own_checkout(
    worktrees: Worktrees, repo: Repository, tmp_path: Path, autocrlf: str
) -> None:
    for command, value in {"clean": "tr A-Z a-z", "smudge": "tr a-z A-Z"}.items():
        git(repo.path, "config", f"filter.upper.{command}", value)
    for name, content in ODD_FILES.items():
        (repo.path / name).parent.mkdir(parents=True, exist_ok=True)
        (repo.path / name).write_bytes(content)
    (repo.path / "deep/er/run.sh").chmod(0o755)
    (repo.path / "link").symlink_to("deep/er")
    (repo.path / "dangling").symlink_to("nowhere at all")
    base = commit_all(repo.path)
    git(repo.path, "config", "core.autocrlf", autocrlf)
    opened = await worktrees.open_repository(repo.path, frozenset({"upper"}))
    git(repo.path, "worktree", "add", "-q", "-b", "plain", str(tmp_path / "plain"), base)
    made = await worktrees.create_worktree(opened, WorktreePlan(tmp_path / "made", "agentpane/made-1", base))
    ready, _ = await made_ready(worktrees, opened)
    card = await handed_over(worktrees, opened, ready, base)
    assert card is not None
    wanted, index = laid_out(tmp_path / "plain"), git(tmp_path / "plain", "ls-files", "-s", "-v", "--eol")
    assert wanted["e.up"][1].startswith(b"SHOUT") and b"$Id: " in wanted["c.id"][1] and wanted["link"][1] == b"deep/er"
    for path in (made.path, card.path):
        assert laid_out(path) == wanted and git(path, "ls-files", "-s", "-v", "--eol") == index
        assert git(path, "status", "--porcelain", "--ignored") == ""
        # No entry but a link is so young that git would have to read the file again.
        young = git(path, "-c", "core.checkStat=minimal", "diff-files", "--name-only")
        assert young == ""


async def test_a_ready_worktree_follows_its_base_and_keeps_what_it_shares(
    worktrees: Worktrees, repo: Repository
) -> None:
    ready, base = await made_ready(worktrees, repo)
    kept = (ready.path / "src/app.py").stat()
    (repo.path / "readme.md").write_text("newer\n")
    (repo.path / "run.sh").unlink()
    git(repo.path, "commit", "-q", "-a", "--amend", "-m", "so that no branch holds the older one")
    newer = git(repo.path, "rev-parse", "HEAD")
    assert await worktrees.ready.advance(repo, ready, newer)
    assert await worktrees.recovery_snapshot(repo, ready, "r1", began=newer) is None
    assert (ready.path / "readme.md").read_text() == "newer\n" and not (ready.path / "run.sh").exists()
    assert (ready.path / "src/app.py").stat() == kept
    assert await handed_over(worktrees, repo, ready, base) is None
    card = await handed_over(worktrees, repo, ready, newer)
    assert card is not None and git(card.path, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["readme.md", "now-tracked.local"])
async def test_what_is_saved_while_it_is_moved_on_is_not_written_over(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ready, _ = await made_ready(worktrees, repo)
    (repo.common_dir / "info" / "exclude").write_text("*.local\n")
    (repo.path / name).write_text("newer\n")
    git(repo.path, "add", "-f", name)
    newer = commit_all(repo.path)
    untouched = pool_module.Ready.is_untouched

    async def looked_at(self: pool_module.Ready, repo: Repository, worktree: Worktree) -> bool:
        found = await untouched(self, repo, worktree)
        (worktree.path / name).write_text("by an editor\n")
        return found

    monkeypatch.setattr(pool_module.Ready, "is_untouched", looked_at)
    assert not await worktrees.ready.advance(repo, ready, newer)
    assert (ready.path / name).read_text() == "by an editor\n"
    assert not await worktrees.ready.is_sealed(ready, newer)


async def test_what_cannot_be_sealed_says_what_is_in_the_way(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pool_module, "put_seal", full)
    with pytest.raises(AgentPaneError, match="No space left") as caught:
        await made_ready(worktrees, repo)
    assert caught.value.code is ErrorCode.WORKTREE_CREATION_FAILED
    assert len(await worktrees.list_worktrees(repo)) == 1 and os.listdir(repo.path / ".worktrees") == []


def stage(ready: Worktree) -> None:
    (ready.path / "src/app.py").write_text("edited\n")
    git(ready.path, "add", "-A")


def put_beside(ready: Worktree) -> None:
    (ready.path / "note").write_text("mine")


def check_out(ready: Worktree) -> None:
    git(ready.path, "checkout", "-q", "-b", "mine")


def replace_folder(ready: Worktree) -> None:
    os.rename(ready.path, ready.path.with_name("away"))
    ready.path.mkdir()


def hold(ready: Worktree) -> None:
    (ready.git_dir / "index.lock").touch()


@pytest.mark.parametrize("meddle", [stage, put_beside, check_out, replace_folder, hold])
async def test_one_that_somebody_was_in_is_not_handed_over(
    worktrees: Worktrees, repo: Repository, meddle: Callable[[Worktree], None]
) -> None:
    ready, base = await made_ready(worktrees, repo)
    meddle(ready)
    assert await handed_over(worktrees, repo, ready, base) is None
    assert await worktrees.branch_tip(repo, BRANCH) is None and not card_path(repo).exists()
    if meddle in {stage, put_beside}:
        assert not await worktrees.ready.is_untouched(repo, ready)
        assert not await worktrees.ready.advance(repo, ready, base)


@pytest.mark.parametrize("name", ["src/app.py", "src/__pycache__/app.pyc"])
async def test_an_edit_deep_inside_is_found_before_anybody_works_there(
    worktrees: Worktrees, repo: Repository, name: str
) -> None:
    ready, base = await made_ready(worktrees, repo)
    assert await worktrees.ready.is_untouched(repo, ready)
    (repo.common_dir / "info" / "exclude").write_text("__pycache__/\n")
    (ready.path / name).parent.mkdir(exist_ok=True)
    (ready.path / name).write_text("by a formatter that went through every folder\n")
    card = await handed_over(worktrees, repo, ready, base)
    assert card is not None and not await worktrees.ready.is_untouched(repo, card)


class Cut(BaseException):
    """The engine died."""


STEPS = ["make_branch", "point_head", "rename", "point_back", "break_seal"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_hand_over_that_is_cut_short_leaves_it_ready_or_at_the_cards_path(
    worktrees: Worktrees, repo: Repository, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    ready, base = await made_ready(worktrees, repo)
    home = {"make_branch": pool_module.ref_files, "point_head": pool_module.ref_files, "rename": pool_module.os}
    real = getattr(home.get(step, pool_module), step)

    def cut(*arguments: object) -> None:
        if step == "rename" and arguments[0] != ready.path:
            return real(*arguments)  # type: ignore[no-any-return]
        if after:
            real(*arguments)
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(home.get(step, pool_module), step, cut)
        with pytest.raises(Cut):
            await handed_over(worktrees, repo, ready, base)
    card = Worktree(card_path(repo), ready.git_dir, BRANCH, ready.mark)
    back = await worktrees.ready.put_back(repo, card, base)
    early = STEPS.index(step) + after <= STEPS.index("rename")
    assert (back is not None) == early
    if back is not None:
        assert back == ready and is_sealed(ready, base) and await worktrees.branch_tip(repo, BRANCH) is None
        assert await handed_over(worktrees, repo, ready, base) is not None
    else:
        assert git(card.path, "branch", "--show-current") == BRANCH
        await worktrees.remove_worktree(repo, card, base)
        assert len(await worktrees.list_worktrees(repo)) == 1
        assert await worktrees.branch_tip(repo, BRANCH) is None and os.listdir(card_path(repo).parent) == []


async def test_eight_at_once_are_made_and_handed_over(worktrees: Worktrees, repo: Repository) -> None:
    made = await asyncio.gather(*(made_ready(worktrees, repo, f"ready-{number}") for number in range(8)))

    async def take(number: int) -> Worktree | None:
        path = repo.path / ".worktrees" / f"card-{number}"
        branch = await new_branch(worktrees, repo, f"agentpane/card-{number}")
        return await worktrees.ready.hand_over(repo, *made[number], path, branch)

    cards = await asyncio.gather(*(take(number) for number in range(8)))
    assert [card.branch for card in cards if card] == [f"agentpane/card-{number}" for number in range(8)]
    assert all(card and git(card.path, "status", "--porcelain") == "" for card in cards)
    for card in cards:
        assert card is not None
        await worktrees.remove_worktree(repo, card, made[0][1])
    assert len(await worktrees.list_worktrees(repo)) == 1


def test_what_is_made_for_later_lets_every_other_program_go_first(tmp_path: Path) -> None:
    script = ("sh", "-c", "read -r _; nice")  # what it reads comes after it was put back
    told = [git_module.Child(script, tmp_path, dict(os.environ)).run(b"\n", 30.0, gently) for gently in (True, False)]
    assert [output for _, output, _ in told] == [b"19\n", b"%d\n" % os.nice(0)]
