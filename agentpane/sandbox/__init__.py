"""Running a command that we do not trust, and ending all of it.

`detect` gives the best sandbox of this machine; `tool_environment` what a command may know of it. Nothing
here decides whether a command may run: that is the policy's part.
"""

from agentpane.sandbox.bare import BareSandbox
from agentpane.sandbox.bubblewrap import BubblewrapSandbox, find_bubblewrap
from agentpane.sandbox.command import OUTPUT_LIMIT, Outcome, Process, Sandbox, SandboxCommand
from agentpane.sandbox.detect import detect, why_not_confined
from agentpane.sandbox.environment import tool_environment
from agentpane.sandbox.landlocked import LandlockSandbox, find_landlock
from agentpane.sandbox.strays import MARK as COMMAND_MARK
from agentpane.sandbox.strays import end_orphans
from agentpane.sandbox.watchdog import Appetite

__all__ = [
    "COMMAND_MARK",
    "OUTPUT_LIMIT",
    "Appetite",
    "BareSandbox",
    "BubblewrapSandbox",
    "LandlockSandbox",
    "Outcome",
    "Process",
    "Sandbox",
    "SandboxCommand",
    "detect",
    "end_orphans",
    "find_bubblewrap",
    "find_landlock",
    "tool_environment",
    "why_not_confined",
]
