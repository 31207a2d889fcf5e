"""The stream of events: numbered, kept for a while, and honest about what is gone."""

from __future__ import annotations

import asyncio

from agentpane.api.events import CatchUp, EngineStopping, Published
from agentpane.orchestrator.bus import EventBus


async def take(bus: EventBus, after: int | None, count: int) -> list[Published | CatchUp]:
    stream = bus.read(after)
    async with asyncio.timeout(5):
        return [await anext(stream) for _ in range(count)]


async def test_a_reader_gets_every_event_after_its_number() -> None:
    bus = EventBus()
    for number in range(5):
        bus.publish(EngineStopping(str(number)))
    assert [item.seq for item in await take(bus, 2, 3)] == [3, 4, 5]


async def test_a_reader_that_waits_is_woken_by_the_next_event() -> None:
    bus = EventBus()
    waiting = asyncio.create_task(take(bus, None, 2))
    await asyncio.sleep(0)
    bus.publish(EngineStopping("a"))
    bus.publish(EngineStopping("b"))
    assert [item.seq for item in await waiting] == [1, 2]


async def test_a_reader_that_fell_behind_is_told_to_catch_up_and_goes_on_from_there() -> None:
    bus = EventBus(keep=3)
    for number in range(10):
        bus.publish(EngineStopping(str(number)))
    stream = bus.read(2)
    assert await anext(stream) == CatchUp(10)
    bus.publish(EngineStopping("next"))
    found = await anext(stream)
    assert isinstance(found, Published) and found.seq == 11


async def test_the_oldest_kept_event_is_still_read() -> None:
    bus = EventBus(keep=3)
    for number in range(10):
        bus.publish(EngineStopping(str(number)))
    assert [item.seq for item in await take(bus, 7, 3)] == [8, 9, 10]


async def test_a_number_from_another_life_and_a_forgotten_past_mean_catching_up() -> None:
    bus = EventBus()
    bus.publish(EngineStopping("a"))
    assert await take(bus, 99, 1) == [CatchUp(1)]
    stream = bus.read(0)
    await anext(stream)
    bus.forget()
    assert await anext(stream) == CatchUp(2)
    bus.publish(EngineStopping("b"))
    found = await anext(stream)
    assert isinstance(found, Published) and found.seq == 3
