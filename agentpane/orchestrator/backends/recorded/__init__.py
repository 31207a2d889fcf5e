"""The recorded model: the same harness and SDK, spoken to by a small server that plays turns kept in files."""

from agentpane.orchestrator.backends.recorded.backend import RecordedBackend

__all__ = ["RecordedBackend"]
