"""The variables about models and their keys that came with a request: kept for its run, in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from agentpane.db import settings
from agentpane.domain.acp_presets import is_model_variable
from agentpane.domain.agents import BackendName
from agentpane.domain.ids import RunId
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.agents.keys import KeyChain
from agentpane.orchestrator.backends.base import Endpoint
from agentpane.orchestrator.backends.claude_code import signed_in
from agentpane.orchestrator.core import Core


class Credentials:
    """Says where each run's model is, and with which key."""

    def __init__(self, core: Core, keys: KeyChain) -> None:
        self._core = core
        self._keys = keys
        self._came_with: dict[RunId, dict[str, str]] = {}

    def keep(self, run_id: RunId, environment: Mapping[str, str]) -> None:
        """Remember what came with the newest request for this run; an empty one leaves the earlier in place."""
        own = {name: value for name, value in environment.items() if is_model_variable(name)}
        if own:
            self._came_with[run_id] = own

    def forget(self, run_id: RunId) -> None:
        self._came_with.pop(run_id, None)

    async def check(self, backend: BackendName, environment: Mapping[str, str]) -> None:
        """Raises AgentPaneError with BACKEND_AUTH if a run of this backend would have no key."""
        if backend is BackendName.ANTHROPIC:
            await self._endpoint(environment)
        if backend is BackendName.CLAUDE_CODE and await asyncio.to_thread(signed_in) is False:
            await self._endpoint(environment)

    async def endpoint(self, run_id: RunId, backend: BackendName) -> Endpoint:
        """Raises AgentPaneError with BACKEND_AUTH when there is no key."""
        if backend in {BackendName.RECORDED, BackendName.COMMAND}:
            return Endpoint(None)
        environment = self._came_with.get(run_id, {})
        if backend in {BackendName.ACP, BackendName.CLAUDE_CODE}:
            return await self._if_any(environment)
        return await self._endpoint(environment)

    async def _if_any(self, environment: Mapping[str, str]) -> Endpoint:
        """For a program that may be signed in by itself: a key where there is one."""
        try:
            found = await self._endpoint(environment)
        except AgentPaneError:
            found = Endpoint(None)
        return replace(found, environment=environment)

    async def _endpoint(self, environment: Mapping[str, str]) -> Endpoint:
        chosen = await self._core.db.read(settings.get)
        return await self._keys.endpoint(environment, chosen.base_url)
