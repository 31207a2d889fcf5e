"""The backends that this engine has, made when first needed."""

from __future__ import annotations

from agentpane.domain.agents import BackendName
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import Backend


class Backends:
    """One instance of each backend, shared by all runs."""

    def __init__(self, backends: tuple[Backend, ...]) -> None:
        self._backends = {backend.name: backend for backend in backends}

    def get(self, name: BackendName) -> Backend:
        self.check(name)
        return self._backends[name.value]

    def check(self, name: BackendName) -> None:
        """Raises AgentPaneError with AGENT_BACKEND_MISSING if this engine has no such backend."""
        if name.value not in self._backends:
            raise AgentPaneError(
                ErrorCode.AGENT_BACKEND_MISSING,
                f"The backend “{name}” is not available.",
                hint=f"Choose one of: {', '.join(sorted(self._backends))}. Nothing has changed.",
            )

    async def close(self) -> None:
        for backend in self._backends.values():
            await backend.close()
