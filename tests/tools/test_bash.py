"""Bash: what the model reads of a command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools import ToolContext, toolbox

from .conftest import Call, caller


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the command did not start"
        time.sleep(0.005)


@pytest.fixture
def call(confined: ToolContext) -> Call:
    return caller(confined)


async def test_output_and_exit_code_are_told(call: Call) -> None:
    good, bad, silent = [await call("Bash", command=one) for one in ("echo hi", "echo no >&2; exit 3", "true")]
    assert (good.content, good.is_error, good.data["exit_code"]) == ("hi", False, 0)
    assert (bad.content, bad.is_error, bad.data["exit_code"]) == ("no\nExit code 3", True, 3)
    assert (silent.content, silent.is_error) == ("(no output)", False)
    assert good.data["sandbox_tier"] == "A"


async def test_it_runs_in_the_worktree(call: Call, worktree: Path) -> None:
    await call("Bash", command="mkdir made && pwd > made/where", description="where am I")
    assert (worktree / "made" / "where").read_text().strip() == str(worktree)


async def test_a_time_limit_is_given_in_milliseconds(call: Call) -> None:
    result = await call("Bash", command="echo begun; sleep 600", timeout=300)
    assert result.is_error and result.data["timed_out"] is True
    assert result.content.startswith("begun\nThe command ran longer than 0.3 s")


async def test_long_output_is_cut_to_its_head_and_tail(call: Call) -> None:
    result = await call("Bash", command="echo first; seq 100000; echo last")
    assert result.content.startswith("first\n1\n2\n") and result.content.endswith("99999\n100000\nlast")
    assert "characters left out" in result.content and len(result.content) < 30_100 and result.data["truncated"] is True


async def test_output_that_is_no_text_can_be_read(call: Call) -> None:
    assert "\ufffd" in (await call("Bash", command="printf '\\377\\376ok'")).content


async def test_what_cannot_be_run_is_refused(call: Call) -> None:
    for command in ("echo \0", "x" * 200_000, ""):
        assert (await call("Bash", command=command)).is_error


async def test_output_is_given_as_it_comes_in_whole_characters(confined: ToolContext, worktree: Path) -> None:
    texts: list[str] = []

    def take(text: str) -> None:
        texts.append(text)
        (worktree / "seen").touch()

    command = "printf 'a\\303'; until [ -e seen ]; do :; done; printf '\\251b'"
    result = await toolbox(["Bash"])["Bash"].run({"command": command}, confined, take)
    assert "".join(texts) == result.content == "a\u00e9b" and len(texts) >= 2


async def test_a_sandbox_that_cannot_start_is_an_error_result(confined: ToolContext, worktree: Path) -> None:
    (worktree / ".git").unlink()
    (worktree / ".git").symlink_to("/etc")
    result = await caller(confined)("Bash", command="touch ran")
    assert result.is_error and result.error_code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
    assert not (worktree / "ran").exists()


async def test_a_cancelled_call_ends_its_command(call: Call, worktree: Path) -> None:
    job = asyncio.ensure_future(call("Bash", command="echo $$ > started; sleep 600"))
    await asyncio.to_thread(until, (worktree / "started").exists)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
