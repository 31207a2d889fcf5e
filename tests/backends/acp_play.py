"""Playing a scenario to an agent that speaks the Agent Client Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.base import BackendEvent
from tests.backends.backend_rigs import AcpRig
from tests.backends.conformance import Host, Place
from tests.backends.playing import check_order, follow


async def play(
    rig: AcpRig, place: Place, scenario: Mapping[str, Any], host: Host | None = None, **changes: Any
) -> list[BackendEvent]:
    events = await follow(AcpBackend(), place.brief(rig.scenario(dict(scenario)), **changes), host)
    check_order(events)
    return events


def steps(*told: list[Any]) -> dict[str, Any]:
    return {"prompts": [[*told, ["say", "All done."]]]}
