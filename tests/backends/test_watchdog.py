"""The watchdog bites what takes too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from agentpane.orchestrator.backends.messages_api.watchdog import Watchdog


async def test_a_long_wait_is_ended() -> None:
    watchdog = Watchdog(0.02)
    with pytest.raises(TimeoutError), watchdog:
        await asyncio.Event().wait()
    job = asyncio.current_task()
    assert job is not None and job.cancelling() == 0
    watchdog.close()


async def test_many_short_waits_are_not() -> None:
    watchdog = Watchdog(1.0)
    for _ in range(4):  # longer together than the limit
        with watchdog:
            await asyncio.sleep(0.3)
    watchdog.close()


async def test_time_between_two_waits_does_not_count() -> None:
    watchdog = Watchdog(0.02)
    await asyncio.sleep(0.06)
    with watchdog:
        await asyncio.sleep(0)
    watchdog.close()


async def test_a_cancellation_from_outside_stays_one() -> None:
    watchdog = Watchdog(5)
    waiting = asyncio.Event()

    async def wait() -> None:
        with watchdog:
            waiting.set()
            await asyncio.Event().wait()

    job = asyncio.create_task(wait())
    await waiting.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    watchdog.close()


async def test_it_can_bite_twice() -> None:
    watchdog = Watchdog(0.02)
    for _ in range(2):
        with pytest.raises(TimeoutError), watchdog:
            await asyncio.Event().wait()
    watchdog.close()
