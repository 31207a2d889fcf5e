"""Which tier this machine offers: tried once, never assumed, and lowered only when somebody says so."""

from __future__ import annotations

import sys

from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox.bare import BareSandbox
from agentpane.sandbox.bubblewrap import find_bubblewrap
from agentpane.sandbox.command import Sandbox
from agentpane.sandbox.landlocked import find_landlock

LINUX_ONLY = "bubblewrap and Landlock exist on Linux only"


def detect(wanted: Tier | None = None) -> Sandbox:
    """The best sandbox that works here, or the one that is wanted. Blocks for some milliseconds.

    Raises AgentPaneError with SECURITY_SANDBOX_UNAVAILABLE when the wanted one does not work here.
    """
    for tier in Tier if wanted is None else (wanted,):
        found = _find(tier)
        if not isinstance(found, str):
            return found
    raise AgentPaneError(
        ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
        f"Sandbox tier {wanted} was asked for and cannot be had: {found}.",
        "Install what is missing, or ask for another tier.",
    )


def why_not_confined() -> str | None:
    """Why commands are not confined on this machine, for a person; None when they are. Blocks as `detect` does."""
    if sys.platform != "linux":
        return LINUX_ONLY
    reasons = []
    for tier in (Tier.BUBBLEWRAP, Tier.LANDLOCK):
        found = _find(tier)
        if not isinstance(found, str):
            return None
        reasons.append(found)
    return "; ".join(reasons)


def _find(tier: Tier) -> Sandbox | str:
    if tier is Tier.NONE:
        return BareSandbox()
    if sys.platform != "linux":
        return LINUX_ONLY
    return find_bubblewrap() if tier is Tier.BUBBLEWRAP else find_landlock()
