"""A command that is spoken with: its streams, its end, and what it may write."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import uvloop

from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import BubblewrapSandbox, Sandbox

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
async def main():
    process = await sandbox.open(command)
    await process.wait()
asyncio.run(main())
"""


async def test_a_command_is_spoken_with(sandbox: Sandbox, order: Order) -> None:
    process = await sandbox.open(order("exec cat"))
    try:
        for word in (b"one\n", b"two\n"):
            process.stdin.write(word)
            await process.stdin.drain()
            assert await process.stdout.readline() == word
        process.stdin.close()
        assert await process.wait() == 0
        assert await process.stdout.read() == b""
    finally:
        await process.end()


async def test_a_flood_that_nobody_reads_does_not_hold_up_the_end(sandbox: Sandbox, order: Order) -> None:
    process = await sandbox.open(order("yes & yes >&2"))
    assert await process.stdout.readline() == b"y\n"
    async with asyncio.timeout(8):
        await process.end()


async def test_errors_come_on_a_stream_of_their_own(sandbox: Sandbox, order: Order) -> None:
    process = await sandbox.open(order("echo out; echo err >&2; exit 5"))
    assert await process.wait() == 5
    assert (await process.stdout.read(), await process.stderr.read()) == (b"out\n", b"err\n")
    await process.end()


async def test_a_line_may_be_long(sandbox: Sandbox, order: Order) -> None:
    process = await sandbox.open(order("head -c 10000000 /dev/zero | tr '\\0' x; echo"))
    try:
        assert len(await process.stdout.readline()) == 10_000_001
    finally:
        await process.end()


async def test_its_time_is_not_limited(sandbox: Sandbox, order: Order) -> None:
    process = await sandbox.open(order("read line; echo $line", timeout_s=0.0))
    process.stdin.write(b"late\n")
    assert await process.stdout.readline() == b"late\n"
    assert await process.wait() == 0
    await process.end()


async def test_ending_it_leaves_nothing(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    process = await sandbox.open(order(runaways.script + "exec sleep 600"))
    await ready(runaways)
    assert len(runaways.alive()) >= 4
    await asyncio.gather(process.end(), process.end())
    assert runaways.alive() == []
    assert await process.wait() != 0
    await process.end()


async def test_what_it_left_behind_ends_with_it(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    process = await sandbox.open(order(runaways.script + "exit 3"))
    assert await process.wait() == 3
    assert runaways.ready.exists() and runaways.alive() == []
    await process.end()


async def test_cancelling_the_ending_does_not_cut_it_short(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    process = await sandbox.open(order(runaways.script + "sleep 600"))
    await ready(runaways)
    ending = asyncio.create_task(process.end())
    await asyncio.sleep(0)
    while not ending.done():
        ending.cancel()
        await asyncio.sleep(0)
    assert runaways.alive() == []


async def test_an_opening_cancelled_at_any_moment_leaves_nothing(
    sandbox: Sandbox, order: Order, runaways: Runaways
) -> None:
    for turns in range(0, 40, 3):
        opening = asyncio.create_task(sandbox.open(order(runaways.script + "sleep 600")))
        for _ in range(turns):
            await asyncio.sleep(0)
        if opening.cancel():
            with pytest.raises(asyncio.CancelledError):
                await opening
        else:
            await opening.result().end()
        assert runaways.alive() == []


async def test_a_descriptor_is_not_lost_by_a_conversation(sandbox: Sandbox, order: Order) -> None:
    await (await sandbox.open(order("true"))).end()
    await asyncio.sleep(0)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await (await sandbox.open(order("sleep 600"))).end()
    await asyncio.to_thread(until, lambda: len(os.listdir("/proc/self/fd")) <= before, "the descriptors' end")


def test_it_is_the_same_on_the_fast_loop(sandbox: Sandbox, order: Order, runaways: Runaways) -> None:
    async def both() -> None:
        process = await sandbox.open(order("read line; echo $line" + runaways.script + "sleep 600"))
        process.stdin.write(b"fast\n")
        assert (await process.stdout.readline()).startswith(b"fast")
        await process.end()
        assert runaways.alive() == []

    uvloop.run(both())


@pytest.mark.parametrize("tier", list(Tier))
def test_killing_the_engine_ends_what_is_spoken_with(
    tier: str, worktree: Path, runaways: Runaways, bubblewrap: object
) -> None:
    arguments = [sys.executable, "-c", ENGINE, tier, str(worktree), runaways.script + "sleep 600"]
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as engine:
        until(runaways.ready.exists, "the command's processes")
        below = psutil.Process(engine.pid).children(recursive=True)
        engine.send_signal(signal.SIGKILL)
    until(lambda: runaways.alive() == [], "the end of the command's processes", within_s=2)
    _, left = psutil.wait_procs(below, timeout=10)
    assert left == []


async def test_a_folder_may_be_written_beside_the_worktree_and_is_made_when_needed(
    sandbox: Sandbox, order: Order, tmp_path: Path
) -> None:
    own, named = tmp_path / "kept" / "own", tmp_path / "named"
    (tmp_path / "real").mkdir()
    named.symlink_to(tmp_path / "real")
    script = f"echo a > {own}/note && echo b > {named}/note"
    assert (await sandbox.run(order(script, writable=(own, named)))).exit_code == 0
    assert ((own / "note").read_text(), (tmp_path / "real" / "note").read_text()) == ("a\n", "b\n")
    process = await sandbox.open(order(f"exec cat {own}/note", writable=(own,)))
    assert await process.stdout.read() == b"a\n"
    await process.end()


async def test_a_folder_that_cannot_be_made_is_refused(sandbox: Sandbox, order: Order, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for starting in (sandbox.run, sandbox.open):
        with pytest.raises(AgentPaneError) as refused:
            await starting(order("true", writable=(tmp_path / "file" / "folder",)))
        assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE


async def test_a_worktree_that_is_to_stay_as_it_is_can_be_read_and_not_written(
    sandbox: Sandbox, order: Order, worktree: Path, tmp_path: Path
) -> None:
    (worktree / "a.txt").write_text("one\n")
    named = tmp_path / "named"
    named.symlink_to(worktree)
    script = "cat a.txt; echo two > a.txt; : > a.txt; rm a.txt; mv a.txt b.txt; mkdir folder; echo new > new.txt"
    asked = replace(order(f"{script}; cd {named} && touch by-its-other-name"), worktree=named, read_only=True)
    if sandbox.tier is Tier.NONE:
        for starting in (sandbox.run, sandbox.open):
            with pytest.raises(AgentPaneError) as refused:
                await starting(asked)
            assert refused.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE
    else:
        outcome = await sandbox.run(asked)
        process = await sandbox.open(asked)
        assert outcome.output.startswith(b"one\n") and await process.stdout.read() == b"one\n"
        await process.end()
    assert sorted(path.name for path in worktree.iterdir()) == [".git", "a.txt"]
    assert (worktree / "a.txt").read_text() == "one\n"


async def test_what_starts_a_command_obeys_none_of_its_variables(
    sandbox: Sandbox, order: Order, worktree: Path, tmp_path: Path
) -> None:
    """The loader of a program that is started with these writes down what it does, before the program does anything."""
    asked = order('echo "$LD_BIND_NOW"')
    written = {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(tmp_path / "written"), "LD_BIND_NOW": "it's its own"}
    asked = replace(asked, environment={**asked.environment, **written})
    assert b"it's its own" in (await sandbox.run(asked)).output
    process = await sandbox.open(asked)
    assert b"it's its own" in await process.stdout.read()
    await process.end()
    if sandbox.tier is not Tier.NONE:  # there the command itself may write what it likes
        assert sorted(path.name for path in tmp_path.iterdir()) == ["worktree"]


async def test_of_a_readable_folder_a_part_may_be_written_and_of_that_a_part_not(
    bubblewrap: BubblewrapSandbox, order: Order, tmp_path: Path
) -> None:
    outer, middle, inner = tmp_path / "o", tmp_path / "o/m", tmp_path / "o/m/i"
    inner.mkdir(parents=True)
    script = f"touch {outer}/x; touch {middle}/x; touch {inner}/x"
    await bubblewrap.run(order(script, readable=(inner, outer), writable=(middle,)))
    assert [(folder / "x").exists() for folder in (outer, middle, inner)] == [False, True, False]


async def test_a_sandbox_that_cannot_be_made_opens_nothing(
    bubblewrap: BubblewrapSandbox, order: Order, worktree: Path
) -> None:
    broken = BubblewrapSandbox("/bin/false")
    with pytest.raises(AgentPaneError) as failed:
        await broken.open(order("touch ran"))
    assert failed.value.code is ErrorCode.SECURITY_SANDBOX_UNAVAILABLE and not (worktree / "ran").exists()
