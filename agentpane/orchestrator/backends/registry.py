"""The backends that this engine has, made when first needed."""

from __future__ import annotations

import asyncio
from typing import Protocol, runtime_checkable

from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Backend


@runtime_checkable
class Configured(Protocol):
    """A backend that cannot do with every configuration."""

    def check(self, config: AgentConfig) -> None:
        """Raises AgentPaneError if it could not start an agent of this configuration. Blocks."""
        ...


class Backends:
    """One instance of each backend, shared by all runs."""

    def __init__(self, backends: tuple[Backend, ...]) -> None:
        self._backends = {backend.name: backend for backend in backends}

    def get(self, name: BackendName) -> Backend:
        self._check_name(name)
        return self._backends[name.value]

    async def check(self, name: BackendName, config: AgentConfig) -> None:
        """Whether an agent of this configuration could be started here.

        Raises AgentPaneError with AGENT_BACKEND_MISSING if this engine has no such backend or its program is not
        installed, VALIDATION_ERROR if the configuration lacks what the backend needs.
        """
        self._check_name(name)
        backend = self._backends[name.value]
        if isinstance(backend, Configured):
            await asyncio.to_thread(backend.check, config)

    def _check_name(self, name: BackendName) -> None:
        if name.value not in self._backends:
            raise AgentPaneError(
                ErrorCode.AGENT_BACKEND_MISSING,
                f"The backend “{name}” is not available.",
                hint=f"Choose one of: {', '.join(sorted(self._backends))}. Nothing has changed.",
            )

    async def close(self) -> None:
        for backend in self._backends.values():
            await backend.close()
