"""The commands that a merge has to pass, and what came of them on one exact tree.

A check is set for a project, or by its repository. It is run on the files that the target would hold after the merge,
never on those of the agent's worktree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentpane.domain.limits import check_line, check_text, invalid
from agentpane.domain.policy import Policy
from agentpane.domain.sandbox import Tier

DEFAULT_TIMEOUT_S = 600
TIMEOUTS_S = range(1, 6 * 3_600 + 1)
MOST_CHECKS = 20
NAME_LENGTH = 100
COMMAND_LENGTH = 5_000
STOPPED = "It was stopped."  # what a check says that a person has ended
OUTPUT_SHOWN = 1_000  # characters of an output's end that a result keeps; the whole of it is in the session


@dataclass(frozen=True, slots=True)
class Check:
    """A shell command. `required`: without its success nothing is merged; another only warns."""

    name: str
    command: str
    required: bool = True
    timeout_s: int = DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class RepositoryChecks:
    """The checks that a repository asks for on its base branch. problem: why they cannot be read; else empty."""

    checks: tuple[Check, ...] = ()
    trusted: bool = False
    problem: str = ""


class CheckState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    NOT_RUN = "not_run"  # it could not be started, or was stopped; `output` says why


# Says something about the tree: it need not be run again on that.
SETTLED = frozenset({CheckState.PASSED, CheckState.FAILED, CheckState.TIMED_OUT})
UNDER_WAY = frozenset({CheckState.PENDING, CheckState.RUNNING})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check stands on the merged tree `tree`.

    exit_code: None as long as it has not ended by itself. output: the end of it, unless the check passed.
    """

    name: str
    required: bool
    state: CheckState
    exit_code: int | None
    seconds: float | None
    tree: str
    at: datetime | None  # when it ended
    output: str

    @property
    def blocks(self) -> bool:
        """Whether it keeps the tree from being merged."""
        return self.required and self.state is not CheckState.PASSED

    @property
    def how(self) -> str:
        """How it stands, in a few words."""
        match self.state:
            case CheckState.PASSED:
                return "passed"
            case CheckState.FAILED:
                return f"ended with status {self.exit_code}"
            case CheckState.TIMED_OUT:
                return f"took longer than {self.seconds or 0:.0f} s"
            case CheckState.NOT_RUN:
                return "was stopped" if self.output == STOPPED else "could not be run"
            case CheckState.PENDING:
                return "has not been run"
        return "is running"


def check_checks(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks as they are kept. Raises AgentPaneError with VALIDATION_ERROR for the field `checks`."""
    kept = tuple(
        Check(
            check_line("checks", check.name, NAME_LENGTH),
            check_text("checks", check.command, COMMAND_LENGTH),
            check.required,
            check.timeout_s,
        )
        for check in checks
    )
    if len(kept) > MOST_CHECKS:
        raise invalid("checks", f"A project has at most {MOST_CHECKS} checks; {len(kept)} were given.")
    names = [check.name for check in kept]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise invalid("checks", f"Two checks are called “{twice}”.")
    for check in kept:
        if check.timeout_s not in TIMEOUTS_S:
            raise invalid("checks", f"The time of the check “{check.name}” must be from 1 s to 6 hours.")
    return kept


def digest_of(check: Check, surroundings: Sequence[object]) -> str:
    """Names what a check does and all that it meets beside the tree: results of the same digest say the same."""
    told = json.dumps([check.command, check.timeout_s, *surroundings], sort_keys=True, default=str)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def may_run_unasked(tier: Tier, policy: Policy | str, unconfined: bool) -> bool:
    """Whether checks run by themselves when a card comes to wait for approval.

    They run what an agent has written. Where its commands are asked for, a person starts these too, or approves.
    """
    return tier is Tier.BUBBLEWRAP or (policy == Policy.FREE and unconfined)


def progress(results: Sequence[CheckResult]) -> str:
    """Where a card's checks are, in a few words; empty when it has none."""
    if not results:
        return ""
    if any(result.state is CheckState.RUNNING for result in results):
        done = sum(result.state not in UNDER_WAY for result in results)
        return f"checks running {done + 1}/{len(results)}"
    blocking = [result for result in results if result.blocks]
    if any(result.state is CheckState.PENDING for result in results):
        return "checks wait"
    if blocking:
        return f"{len(blocking)} of {len(results)} checks did not pass"
    warned = sum(result.state is not CheckState.PASSED for result in results)
    return f"checks passed, {warned} warned" if warned else "checks passed"
