"""May a run be played here? Not with nobody asked outside the full sandbox, nor where nothing keeps it from writing.

It is looked at before a run is queued, when it goes on, and again when it or a sub-agent of it starts: the sandbox may
have become another since.
"""

from __future__ import annotations

from agentpane.domain.agents import Agent
from agentpane.domain.policy import Policy, must_stay, unattended
from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode

NOTHING_CHANGED = "Nothing has changed."
WORK_KEPT = "The run waits as it was, and its work so far is kept."
NOT_STARTED = "It was not started, and the work so far is kept."


def check_attended(agent: Agent, policy: Policy, planning: bool, tier: Tier, unconfined: bool, kept: str) -> None:
    """planning: a plan is still to be approved. unconfined: the person lets unattended runs play in any tier.

    kept: what has become of the run and its work, for the person.
    Raises AgentPaneError with SECURITY_SANDBOX_UNAVAILABLE.
    """
    asks = agent.backend.asks
    if must_stay(policy, planning, asks) and tier is Tier.NONE:
        why = "until its plan is approved" if planning else f"under the policy {policy}"
        raise AgentPaneError(
            ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
            f"{agent.name} is a program that acts by itself, and there is no sandbox here (tier {tier.value}) that "
            f"would keep it from changing its worktree {why}.",
            hint=f"Install bubblewrap, or take an agent whose calls are judged one by one. {kept}",
        )
    if unconfined or not unattended(policy, tier, asks):
        return
    who = "this run's commands" if asks else f"what {agent.name}, a program that acts by itself, does"
    raise AgentPaneError(
        ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
        f"Nobody would be asked about {who}, and the sandbox here is tier {tier.value}: {tier.description}",
        hint="Install bubblewrap, take a policy and an agent that ask, or say that this project's runs may play "
        f"without a sandbox (agentpane project policy P --unconfined). {kept}",
    )
