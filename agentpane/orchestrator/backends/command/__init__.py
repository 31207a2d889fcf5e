"""Any shell command as an agent."""

from agentpane.orchestrator.backends.command.backend import CommandBackend

__all__ = ["CommandBackend"]
