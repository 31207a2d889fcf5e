"""Nothing that a command started outlives it, its time, its run or the engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import uvloop

from agentpane.domain.sandbox import Tier
from agentpane.sandbox import BareSandbox, Sandbox, end_orphans

from .conftest import Order, Runaways, ready, until

ENGINE = """
import asyncio, sys
from pathlib import Path
from agentpane.domain.sandbox import NO_NETWORK
from agentpane.domain.sandbox import Tier
from agentpane.sandbox import SandboxCommand, detect, tool_environment

tier, worktree, script = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
sandbox = detect(Tier(tier))
command = SandboxCommand(script, worktree, (), tool_environment(worktree), 600.0, network=NO_NETWORK)
asyncio.run(sandbox.run(command))
"""


async def test_what_runs_on_in_the_background_ends_with_the_command(
    sandbox: Sandbox, order: Order, runaways: Runaways
) -> None:
    outcome = await sandbox.run(order(runaways.script + "echo told"))
    assert outcome.output.endswith(b"told\n") and outcome.exit_code == 0
    assert runaways.ready.exists() and runaways.alive() == []


async def test_when_the_time_is_over_nothing_is_left(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    outcome = await sandbox.run(order(runaways.script + "wait; sleep 600", timeout_s=2.0))
    assert outcome.timed_out and outcome.duration_ms < 10_000
    assert runaways.alive() == []


async def test_when_a_run_is_cancelled_nothing_is_left(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    job = asyncio.create_task(sandbox.run(order(runaways.script + "sleep 600")))
    await ready(runaways)
    assert len(runaways.alive()) >= 4
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert runaways.alive() == []


async def test_cancelling_again_and_again_does_not_cut_the_ending_short(
    sandbox: Sandbox, order: Order, runaways: Runaways
) -> None:
    job = asyncio.create_task(sandbox.run(order(runaways.script + "sleep 600")))
    await ready(runaways)
    while not job.done():
        job.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await job
    assert runaways.alive() == []


async def test_a_run_cancelled_at_any_moment_of_its_start_leaves_nothing(
    sandbox: Sandbox, order: Order, runaways: Runaways
) -> None:
    for turns in range(0, 40, 3):
        job = asyncio.create_task(sandbox.run(order(runaways.script + "sleep 600")))
        for _ in range(turns):
            await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert runaways.alive() == []


async def test_a_command_that_kills_its_helper_is_ended_all_the_same(order: Order, runaways: Runaways) -> None:
    outcome = await BareSandbox().run(order(runaways.script + "kill -9 $PPID; sleep 600"))
    assert outcome.exit_code == 137 and runaways.alive() == []


async def test_an_observer_that_fails_ends_the_command(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    def fail(chunk: bytes) -> None:
        raise RuntimeError("nobody is listening")

    with pytest.raises(RuntimeError):
        async with asyncio.timeout(10):
            await sandbox.run(order("echo something;" + runaways.script + "sleep 600"), fail)
    assert runaways.alive() == []


async def test_a_descriptor_is_not_lost_by_a_run(sandbox: Sandbox, order: Order) -> None:
    await sandbox.run(order("true"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await sandbox.run(order("true"))
        await sandbox.run(order("sleep 600", timeout_s=0.05))
    # a look at the machine that was under way when the last run ended has files of its own open
    await asyncio.to_thread(until, lambda: len(os.listdir("/proc/self/fd")) <= before, "the descriptors' end")


async def test_many_commands_at_once_get_their_own_outcome(sandbox: Sandbox, order: Order) -> None:
    outcomes = await asyncio.gather(*(sandbox.run(order(f"echo {n}; exit {n}")) for n in range(12)))
    assert [outcome.exit_code for outcome in outcomes] == list(range(12))
    assert [int(outcome.output) for outcome in outcomes] == list(range(12))


def test_it_is_the_same_on_the_fast_loop(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    async def both() -> None:
        assert (await sandbox.run(order("echo fast; exit 4"))).exit_code == 4
        job = asyncio.create_task(sandbox.run(order(runaways.script + "sleep 600")))
        await ready(runaways)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert runaways.alive() == []

    uvloop.run(both())


@pytest.mark.parametrize("tier", list(Tier))
def test_killing_the_engine_ends_every_command(
    tier: str, worktree: Path, runaways: Runaways, bubblewrap: object
) -> None:
    arguments = [sys.executable, "-c", ENGINE, tier, str(worktree), runaways.script + "sleep 600"]
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as engine:
        until(runaways.ready.exists, "the command's processes")
        assert len(runaways.alive()) >= 4
        below = psutil.Process(engine.pid).children(recursive=True)
        engine.send_signal(signal.SIGKILL)
    until(lambda: runaways.alive() == [], "the end of the command's processes")
    _, left = psutil.wait_procs(below, timeout=10)
    assert left == []


async def test_what_a_command_starts_carries_the_mark_of_its_engine(sandbox: Sandbox, order: Order) -> None:
    told = await sandbox.run(order("echo $AGENTPANE_COMMAND"))
    engine, began, number = told.output.decode().split()[-1].split(".")
    assert (int(engine), int(began), len(number)) == (os.getpid(), ticks(os.getpid()), 32)


def test_what_a_killed_engine_has_left_is_known_by_its_mark_and_ended_by_the_next() -> None:
    engine, number = subprocess.Popen(["sleep", "600"]), "0" * 32
    marks = {
        "of one that died": f"{engine.pid}.{ticks(engine.pid)}.{number}",
        "of one whose number another has": f"{os.getpid()}.{ticks(os.getpid()) - 1}.{number}",
        "of one that lives": f"{os.getpid()}.{ticks(os.getpid())}.{number}",
        "of nobody": "somebody's own",
    }
    engine.kill()
    engine.wait()
    left = {whose: subprocess.Popen(["sleep", "600"], env={"AGENTPANE_COMMAND": mark}) for whose, mark in marks.items()}
    left["unmarked"] = subprocess.Popen(["sleep", "600"])
    try:
        end_orphans()
        for whose in ("of one that died", "of one whose number another has"):
            assert left[whose].wait(10) == -signal.SIGKILL
        assert all(left[whose].poll() is None for whose in ("of one that lives", "of nobody", "unmarked"))
    finally:
        for process in left.values():
            process.kill()
            process.wait()


def ticks(pid: int) -> int:
    """When a process was started, as the system counts it."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
