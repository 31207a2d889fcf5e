"""Claude Code as an agent: the program that is installed, confined, with each of its calls put to the policy first."""

from agentpane.orchestrator.backends.claude_code.backend import ClaudeCodeBackend
from agentpane.orchestrator.backends.claude_code.program import find_program, signed_in

__all__ = ["ClaudeCodeBackend", "find_program", "signed_in"]
