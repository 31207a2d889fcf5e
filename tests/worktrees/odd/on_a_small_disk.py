"""Run on a small disk of its own: fills it, and prints what each step of a card says then.

`python -m tests.worktrees.odd.on_a_small_disk FOLDER`
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from agentpane.errors import AgentPaneError
from agentpane.worktrees import Merged, MergeRefused, Undone, UndoPlan, Worktrees
from tests.worktrees.conftest import Journal, git
from tests.worktrees.odd.story import cancelled, card_of, persons
from tests.worktrees.odd.test_kinds import fill, made

Step = Callable[[], Awaitable[object]]


class Disk:
    """What fills the disk to its last byte, and makes room again."""

    def __init__(self, top: Path) -> None:
        self.filler = top / "filler"

    def full(self) -> None:
        with open(self.filler, "ab", buffering=0) as file:
            for size in (65_536, 4_096, 1):
                with suppress(OSError):
                    while file.write(b"\0" * size):
                        pass

    def leave(self, room: int) -> None:
        os.truncate(self.filler, self.filler.stat().st_size - room)

    def free(self) -> None:
        self.filler.unlink()


async def said(step: Step) -> list[str]:
    """The code and the words of what stopped a step; it may be that nothing did."""
    try:
        outcome = await step()
    except AgentPaneError as error:
        return [error.code.value, error.message, error.hint]
    except OSError as error:
        return ["OSError", errno.errorcode.get(error.errno or 0, ""), str(error)]
    if isinstance(outcome, MergeRefused):
        return [outcome.code.value, outcome.message, outcome.hint]
    return [type(outcome).__name__]


async def main(top: Path) -> None:
    work, disk, told = Worktrees(), Disk(top), {}
    folder = made(top / "repo", {"a.txt": b"1\n", "mine.txt": b"1\n", "big": os.urandom(300_000)})
    repo = await work.open_repository(folder)
    fill(folder, {"mine.txt": b"edited\n"})
    before = persons(folder)
    disk.full()
    told["create"] = await said(lambda: card_of(work, repo))
    disk.free()
    assert git(folder, "for-each-ref", "refs/heads/agentpane") == "" and persons(folder) == before
    card = await card_of(work, repo)
    fill(card.made.path, {"a.txt": b"2\n", "new": os.urandom(300_000), "small": b"s\n"})
    disk.full()
    told["snapshot"] = await said(card.snapshot)
    told["recovery"] = await said(lambda: work.recovery_snapshot(repo, card.made.worktree, "kept"))
    disk.free()
    snapshot = await card.snapshot()
    disk.full()
    told["merge"] = await said(lambda: card.merge(snapshot))
    disk.leave(100_000)  # for the commit, and not for its files
    told["checkout"] = await said(lambda: card.merge(snapshot))
    disk.free()
    assert persons(folder) == before and git(folder, "rev-parse", "main") == card.base
    merged = await card.merge(snapshot)
    assert isinstance(merged, Merged)
    after = persons(folder)
    plan = UndoPlan("main", card.base, merged.commit, snapshot.sha, "run-one", "Revert\n", "Again\n")
    disk.full()
    told["undo"] = await said(lambda: work.undo(repo, plan, Journal()))
    disk.free()
    if told["undo"] != ["Undone"]:
        assert persons(folder) == after
        assert isinstance(await work.undo(repo, plan, Journal()), Undone)
    assert persons(folder) == before
    await cancelled(card, snapshot.sha)
    await work.close()
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
