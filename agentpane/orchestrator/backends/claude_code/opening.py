"""The first words that the program is given: what is new for it, or everything when it remembers nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable

from agentpane.orchestrator.backends.base import Brief, Pending
from agentpane.orchestrator.backends.claude_code.uses import PLAN, QUESTION, summary_of
from agentpane.orchestrator.backends.retelling import news, retold

GO_ON = "Go on with the task where you stopped."
SAID = "The person says:"


def opening(brief: Brief, resumed: bool, said: Iterable[str]) -> str:
    """resumed: the program has the conversation itself. said: what the person has said meanwhile."""
    if resumed:
        parts = [news(brief.history)]
    else:
        parts = [retold(brief.history, brief.results)]
    parts += [_open_call(pending, brief) for pending in brief.pending]
    parts += [f"{SAID} {text}" for text in said]
    return "\n\n".join(part for part in parts if part) or GO_ON


def meanwhile(said: Iterable[str]) -> str:
    return "\n\n".join(f"{SAID} {text}" for text in said)


def _open_call(pending: Pending, brief: Brief) -> str:
    call = pending.call
    what = f"{call.name} {summary_of(call.name, call.input, brief.context.worktree)}".strip()
    if pending.started:
        return (
            f"Your call “{what}” was cut off, so its outcome is unknown: it may have had all, some or none of its "
            "effect. Look at the present state before you repeat it."
        )
    if call.name == QUESTION:
        return f"You had asked the person: {json.dumps(call.input.get('questions'), ensure_ascii=False)}"
    if call.name == PLAN:
        return "Your plan was put to the person. Propose it again in the same words to learn what they say."
    return (
        f"Your call “{what}” has not been carried out, for a person had to be asked first. "
        "If you still want it, make the same call again; what was decided holds for it."
    )
