"""Commands in the background: looked at, ended by the agent, and ended with the run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.orchestrator.tools import ToolContext
from agentpane.orchestrator.tools.shells import KEPT, MOST, EndedBy, ShellEnd, Shells

from .conftest import Call, caller

BOUND = 60.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def ends() -> list[ShellEnd]:
    return []


@pytest.fixture
def shown() -> list[tuple[int, str, str]]:
    return []


@pytest.fixture
async def shells(ends: list[ShellEnd], shown: list[tuple[int, str, str]]) -> AsyncIterator[Shells]:
    made = Shells(show=lambda *what: shown.append(what), on_end=ends.append)
    yield made
    await made.close()


@pytest.fixture(params=["bare", "bubblewrap"])
def call(request: pytest.FixtureRequest, shells: Shells, context: ToolContext, confined: ToolContext) -> Call:
    chosen = context if request.param == "bare" else confined
    return caller(replace(chosen, shells=shells, turn=4, call_id="toolu_1"))


async def test_its_output_is_given_once_and_its_end_is_told(call: Call, shells: Shells, worktree: Path) -> None:
    command = "echo out; echo err >&2; until [ -e go ]; do sleep 0.01; done; echo more; exit 3"
    begun = await call("Bash", command=command, run_in_background=True)
    assert not begun.is_error and begun.data["shell_id"] == "bash_1"
    shell = shells.get("bash_1")
    assert shell is not None
    await until(lambda: b"err" in shell.unread)
    first = await call("BashOutput", bash_id="bash_1")
    assert first.content == "out\nerr\nbash_1 is running." and first.data["running"] is True
    assert (await call("BashOutput", bash_id="bash_1")).content == "(nothing new)\nbash_1 is running."
    (worktree / "go").touch()
    await until(lambda: not shell.running)
    last = await call("BashOutput", bash_id="bash_1")
    assert last.content == "more\nbash_1 has ended with code 3." and last.data["exit_code"] == 3


async def test_what_it_prints_is_streamed_and_its_end_is_reported(
    call: Call, shells: Shells, ends: list[ShellEnd], shown: list[tuple[int, str, str]]
) -> None:
    await call("Bash", command="printf 'gr\\303\\274n'", run_in_background=True)
    await until(lambda: bool(ends))
    assert "".join(text for _, _, text in shown) == "grün"
    assert {(turn, call_id) for turn, call_id, _ in shown} == {(4, "toolu_1")}
    (ended,) = ends
    assert (ended.id, ended.call_id, ended.by, ended.exit_code) == ("bash_1", "toolu_1", EndedBy.ITSELF, 0)
    assert ended.output == "grün" and ended.command == "printf 'gr\\303\\274n'"


async def test_a_filter_shows_only_the_lines_that_match(call: Call, ends: list[ShellEnd]) -> None:
    await call("Bash", command="seq 30", run_in_background=True)
    await until(lambda: bool(ends))
    result = await call("BashOutput", bash_id="bash_1", filter="^2[0-9]$|^7$")
    assert result.content.splitlines()[:2] == ["7", "20"] and "30" not in result.content
    assert (await call("BashOutput", bash_id="bash_1", filter="(")).is_error


async def test_a_flood_is_kept_in_bounded_memory(call: Call, shells: Shells, ends: list[ShellEnd]) -> None:
    await call("Bash", command="head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last", run_in_background=True)
    await until(lambda: bool(ends))
    shell = shells.get("bash_1")
    assert shell is not None and len(shell.unread) <= KEPT and len(ends[0].output) <= KEPT + 100
    result = await call("BashOutput", bash_id="bash_1")
    assert "bytes came too fast" in result.content and "last" in result.content and len(result.content) < 31_000


async def test_killing_leaves_nothing(call: Call, worktree: Path, ends: list[ShellEnd]) -> None:
    command = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do touch beat; sleep 0.02; done' &) ; sleep 600"
    await call("Bash", command=command, run_in_background=True)
    await until((worktree / "beat").exists)
    result = await call("KillShell", shell_id="bash_1")
    assert not result.is_error and ends[0].by is EndedBy.AGENT and ends[0].exit_code is None
    await nothing_beats(worktree)
    again = await call("KillShell", shell_id="bash_1")
    assert not again.is_error and "already" in again.content
    assert (await call("BashOutput", bash_id="bash_1")).content.endswith("bash_1 was ended.")


async def test_closing_ends_every_command_even_when_it_is_cancelled(
    call: Call, shells: Shells, worktree: Path, ends: list[ShellEnd]
) -> None:
    for number in range(2):
        command = f"trap '' TERM; while :; do touch beat{number}; sleep 0.02; done"
        await call("Bash", command=command, run_in_background=True)
    await until(lambda: (worktree / "beat0").exists() and (worktree / "beat1").exists())
    closing = asyncio.create_task(shells.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert [end.by for end in ends] == [EndedBy.RUN, EndedBy.RUN]
    for number in range(2):
        await nothing_beats(worktree, f"beat{number}")


async def nothing_beats(worktree: Path, name: str = "beat") -> None:
    """What wrote every 20 ms does not write in ten times that."""
    (worktree / name).unlink(missing_ok=True)
    await asyncio.sleep(0.2)
    assert not os.path.exists(worktree / name)


async def test_there_are_at_most_so_many_at_once(call: Call, ends: list[ShellEnd]) -> None:
    for _ in range(MOST):
        assert not (await call("Bash", command="sleep 600", run_in_background=True)).is_error
    refused = await call("Bash", command="sleep 600", run_in_background=True)
    assert refused.is_error and "KillShell" in refused.content
    await call("KillShell", shell_id="bash_3")
    assert not (await call("Bash", command="sleep 600", run_in_background=True)).is_error


async def test_a_name_that_is_unknown_is_an_error_that_says_which_there_are(call: Call) -> None:
    await call("Bash", command="true", run_in_background=True)
    for tool, key in (("BashOutput", "bash_id"), ("KillShell", "shell_id")):
        result = await call(tool, **{key: "bash_9"})
        assert result.is_error and "bash_1" in result.content


async def test_without_a_run_there_is_no_background(context: ToolContext, worktree: Path) -> None:
    result = await caller(context)("Bash", command="touch ran", run_in_background=True)
    assert result.is_error and not (worktree / "ran").exists()


async def test_names_go_on_from_an_earlier_run(confined: ToolContext) -> None:
    later = Shells(first=3)
    try:
        result = await caller(replace(confined, shells=later))("Bash", command="true", run_in_background=True)
        assert result.data["shell_id"] == "bash_3"
    finally:
        await later.close()
