"""What takes too much of the machine is ended, and the reason is told; what takes its fair part is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from agentpane.sandbox import Appetite, BareSandbox, BubblewrapSandbox, LandlockSandbox, Sandbox

from .conftest import Order, Runaways

MEGABYTE = 1024**2
BOMB = "bomb() { bomb | bomb & }; bomb; sleep 600"
HOG = """exec python3 -c '
held = []
while True: held.append(b"x" * 20_000_000)'"""


@pytest.fixture
def strict(sandbox: Sandbox) -> Callable[[Appetite], Sandbox]:
    if isinstance(sandbox, BubblewrapSandbox):
        return partial(BubblewrapSandbox, sandbox._program)
    if isinstance(sandbox, LandlockSandbox):
        return partial(LandlockSandbox, sandbox._version)
    return BareSandbox


async def test_a_fork_bomb_is_ended(strict: Callable[[Appetite], Sandbox], order: Order) -> None:
    outcome = await strict(Appetite(processes=64, tasks=200)).run(order(BOMB))
    assert outcome.exit_code == 137 and not outcome.timed_out
    assert outcome.killed_for is not None and "64 may" in outcome.killed_for
    assert outcome.output.endswith(f"[{outcome.killed_for}]\n".encode())


async def test_a_fork_bomb_in_sessions_of_its_own_is_ended(
    strict: Callable[[Appetite], Sandbox], order: Order, control_group: None
) -> None:
    """No process group holds it together: it can be killed since the control group lets it grow no more."""
    script = "echo 'setsid bash bomb.sh & setsid bash bomb.sh & sleep 600' > bomb.sh; bash bomb.sh"
    outcome = await strict(Appetite(processes=64, tasks=200)).run(order(script))
    assert outcome.exit_code == 137 and outcome.killed_for is not None


async def test_a_memory_hog_is_ended(strict: Callable[[Appetite], Sandbox], order: Order) -> None:
    outcome = await strict(Appetite(memory=300 * MEGABYTE)).run(order(HOG))
    assert outcome.killed_for is not None and "memory" in outcome.killed_for
    assert outcome.duration_ms < 20_000


async def test_memory_of_many_processes_counts_together(strict: Callable[[Appetite], Sandbox], order: Order) -> None:
    one = "python3 -c 'import time; held = b\"x\" * 120_000_000; time.sleep(600)' &"
    outcome = await strict(Appetite(memory=400 * MEGABYTE)).run(order(one * 4 + "wait"))
    assert outcome.killed_for is not None and "memory" in outcome.killed_for


async def test_memory_that_processes_share_is_counted_once(strict: Callable[[Appetite], Sandbox], order: Order) -> None:
    code = """
import mmap, os, time
held = b"x" * 150_000_000
file = os.memfd_create("x")
os.ftruncate(file, 150_000_000)
mapped = mmap.mmap(file, 150_000_000)
mapped.write(held)
for _ in range(5):
    if os.fork() == 0:
        time.sleep(0.7)
        os._exit(0)
for _ in range(5): os.wait()
"""
    outcome = await strict(Appetite(memory=400 * MEGABYTE)).run(order(f"python3 -c '{code}'; echo done"))
    assert outcome.output == b"done\n" and outcome.killed_for is None


async def test_the_last_of_the_disk_is_left_to_others(
    strict: Callable[[Appetite], Sandbox], order: Order, monkeypatch: pytest.MonkeyPatch, worktree: Path
) -> None:
    real, little = __import__("shutil").disk_usage, 1000

    def usage(folder: Path) -> object:
        found = real(folder)
        return found._replace(free=little) if (worktree / "filled").exists() else found

    monkeypatch.setattr("agentpane.sandbox.watchdog.shutil.disk_usage", usage)
    outcome = await strict(Appetite()).run(order("sleep 0.4; touch filled; sleep 600"))
    assert outcome.killed_for is not None and "disk" in outcome.killed_for
    again = await strict(Appetite()).run(order("sleep 0.5; echo done"))
    assert again.output == b"done\n"  # a disk that is full from the beginning is nobody's fault


async def test_a_sparse_file_of_a_terabyte_cannot_be_made(sandbox: Sandbox, order: Order, worktree: Path) -> None:
    outcome = await sandbox.run(
        order("truncate -s 1T big; fallocate -l 1T big2; dd if=/dev/zero of=big3 bs=1 seek=1T count=1")
    )
    assert outcome.exit_code != 0
    assert all(path.stat().st_size < 1024**3 for path in worktree.glob("big*"))


async def test_what_is_spoken_with_is_ended_too(strict: Callable[[Appetite], Sandbox], order: Order) -> None:
    process = await strict(Appetite(processes=64, tasks=200)).open(order(BOMB))
    try:
        async with asyncio.timeout(20):
            assert await process.wait() != 0
        assert process.killed_for is not None and "64 may" in process.killed_for
    finally:
        await process.end()


async def test_a_command_of_many_small_processes_runs_through(sandbox: Sandbox, order: Order) -> None:
    outcome = await sandbox.run(order("for n in $(seq 100); do sleep 0.6 & done; wait; echo done"))
    assert outcome.output == b"done\n" and outcome.killed_for is None


async def test_a_hog_takes_nobody_with_it(
    strict: Callable[[Appetite], Sandbox], order: Order, runaways: Runaways
) -> None:
    sandbox = strict(Appetite(processes=64, tasks=200))
    quiet, bomb = await asyncio.gather(sandbox.run(order("sleep 1.5; echo quiet")), sandbox.run(order(BOMB)))
    assert quiet.output == b"quiet\n" and bomb.killed_for is not None
