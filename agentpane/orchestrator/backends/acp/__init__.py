"""Any agent that speaks the Agent Client Protocol, as a program of its own inside the sandbox."""

from agentpane.orchestrator.backends.acp.backend import AcpBackend

__all__ = ["AcpBackend"]
