"""How long an engine stays."""

from __future__ import annotations

import asyncio

from agentpane.orchestrator.main import Life


async def test_looking_again_and_again_does_not_keep_an_engine_that_nobody_needs() -> None:
    life = Life(idle_s=0.1, keep=False)
    async with asyncio.timeout(10):
        while not life.ended.is_set():
            life.look(needed=False)
            await asyncio.sleep(0.01)


async def test_time_without_need_counts_anew_after_somebody_came() -> None:
    life = Life(idle_s=0.1, keep=False)
    life.look(needed=False)
    life.look(needed=True)
    await asyncio.sleep(0.2)
    assert not life.ended.is_set()
    life.look(needed=False)
    async with asyncio.timeout(10):
        await life.ended.wait()


async def test_an_engine_that_is_kept_stays() -> None:
    life = Life(idle_s=0.0, keep=True)
    life.look(needed=False)
    await asyncio.sleep(0.05)
    assert not life.ended.is_set()
