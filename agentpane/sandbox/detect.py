"""Which tier this machine offers: tried once, never assumed."""

from __future__ import annotations

import sys

from agentpane.sandbox.bare import BareSandbox
from agentpane.sandbox.bubblewrap import find_bubblewrap
from agentpane.sandbox.command import Sandbox


def detect() -> Sandbox:
    """The best sandbox that works here. Blocks for some milliseconds."""
    found = find_bubblewrap() if sys.platform == "linux" else None
    return BareSandbox() if found is None or isinstance(found, str) else found


def why_not_confined() -> str | None:
    """Why commands are not confined on this machine, for a person; None when they are. Blocks as `detect` does."""
    if sys.platform != "linux":
        return "bubblewrap exists on Linux only"
    found = find_bubblewrap()
    return found if isinstance(found, str) else None
