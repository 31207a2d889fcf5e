"""An agent loop of our own on the Messages API: what is asked, how faults are borne with, and how calls are run."""

from agentpane.orchestrator.backends.messages_api.backend import MessagesApiBackend
from agentpane.orchestrator.backends.messages_api.faults import Patience
from agentpane.orchestrator.backends.messages_api.models import DEFAULT_MODEL, model_names, models

__all__ = ["DEFAULT_MODEL", "MessagesApiBackend", "Patience", "model_names", "models"]
