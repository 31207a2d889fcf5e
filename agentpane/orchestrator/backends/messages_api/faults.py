"""What may go wrong with a model's server, as values; and how patiently each is tried again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from agentpane.errors import AgentPaneError, ErrorCode

LEAST_TRIES = 3  # for a fault that seldom passes by itself, such as a local server that is not running


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request failed.

    passes: it is worth trying again. stubborn: only a few times.
    retry_after: seconds that the server asked us to wait, if it did.
    """

    code: ErrorCode
    message: str
    hint: str = ""
    passes: bool = False
    stubborn: bool = False
    retry_after: float | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    def error(self, tries: int = 1) -> AgentPaneError:
        """As the person is told, after so many tries."""
        message = self.message if tries < 2 else f"{self.message} It was tried {tries} times."
        return AgentPaneError(self.code, message, self.hint, self.details)


class RequestFailed(Exception):
    """A request that failed, and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a fault is borne with.

    silence_s: without a real event for so long, the server counts as gone; pings do not count.
    """

    tries: int = 10
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    longest_asked_s: float = 300.0  # a server may ask for more than we would wait by ourselves, but not for hours
    silence_s: float = 120.0
    sleep: Callable[[float], Awaitable[None]] = _sleep
    chance: Callable[[], float] = random.random  # from 0 to 1

    def tries_for(self, fault: Fault) -> int:
        if not fault.passes:
            return 1
        return min(self.tries, LEAST_TRIES) if fault.stubborn else self.tries

    def wait(self, attempt: int, fault: Fault) -> float:
        """Seconds before the next try, after `attempt` failed: as the server asked, else ever longer with jitter."""
        if fault.retry_after is not None:
            return min(fault.retry_after, self.longest_asked_s) + self.chance() * self.first_wait_s
        longest = min(self.first_wait_s * 2.0 ** (attempt - 1), self.longest_wait_s)
        return longest * (0.5 + self.chance() / 2)


def missing_key() -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.BACKEND_AUTH,
        "There is no key for the model.",
        "Store one in the settings, or set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN. "
        "A local server that checks none takes any word.",
    )
