"""One client of the SDK for each endpoint, made when it is first needed and shared by all its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Endpoint
from agentpane.orchestrator.backends.messages_api.faults import Fault, missing_key
from agentpane.orchestrator.backends.messages_api.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic


@dataclass(frozen=True, slots=True)
class Heavy:
    """What the modules that are slow to import give us."""

    make_client: Callable[[Endpoint], AsyncAnthropic]
    fault_of: Callable[[Exception, Endpoint], Fault]
    evidence: Callable[[Exception, Endpoint], Exception | None]
    silent: Callable[[float, Endpoint], Fault]
    wire_errors: tuple[type[Exception], ...]
    cost_of: Callable[[str, Mapping[str, object]], float | None]
    window_of: Callable[[str], int | None]


def _load() -> Heavy:
    """Runs in a thread: the SDK takes over a second, the price list a few tenths.

    Raises AgentPaneError with AGENT_BACKEND_MISSING if one of them cannot be imported.
    """
    try:
        from agentpane.orchestrator.backends.messages_api import prices, sdk
    except ImportError as error:
        raise AgentPaneError(
            ErrorCode.AGENT_BACKEND_MISSING,
            f"The anthropic backend cannot be loaded: {error}.",
            "Install AgentPane again with its dependencies, stop the engine, then resume. Nothing was lost.",
        ) from error
    prices.cost_of(DEFAULT_MODEL, {"input_tokens": 1, "output_tokens": 1})  # the list is read on first use
    return Heavy(
        sdk.make_client, sdk.fault_of, sdk.evidence, sdk.silent, sdk.WIRE_ERRORS, prices.cost_of, prices.window_of
    )


class Clients:
    """Owns the connections to the models' servers."""

    def __init__(self) -> None:
        self._loading: asyncio.Task[Heavy] | None = None
        self._clients: dict[tuple[str | None, str | None, str | None], AsyncAnthropic] = {}

    async def heavy(self) -> Heavy:
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_load))
        return await asyncio.shield(self._loading)

    async def get(self, endpoint: Endpoint) -> AsyncAnthropic:
        """Raises AgentPaneError with BACKEND_AUTH if there is no key, BACKEND_UNAVAILABLE if the address is none."""
        if not endpoint.api_key and not endpoint.auth_token:
            raise missing_key()
        heavy = await self.heavy()
        name = (endpoint.base_url, endpoint.api_key, endpoint.auth_token)
        if name not in self._clients:
            self._clients[name] = heavy.make_client(endpoint)
        return self._clients[name]

    async def close(self) -> None:
        if self._loading is not None:
            await asyncio.wait([self._loading])
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()
