"""What we remember of a conversation that the program keeps: what it has not been told yet, and what it has cost.

The file lies beside the program's home folder, where the program cannot write.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.json import JsonObject

NAME = "acp.json"
PLAN_APPROVED = "The plan is approved. Carry it out."


@dataclass(slots=True)
class Memory:
    """unread: messages of a person that were taken and not given to the program. cost: in dollars, as it counted.

    mode: in which the conversation began. plan: what was approved while this run was played, which is not kept: the
    engine knows of what was approved before.
    """

    file: Path
    unread: tuple[str, ...] = ()
    cost: float = 0.0
    mode: str = ""
    plan: str | None = None

    @classmethod
    def of(cls, state: Path) -> Memory:
        file = state / NAME
        try:
            kept = json.loads(file.read_text("utf-8"))
            return cls(file, tuple(str(text) for text in kept["unread"]), float(kept["cost"]), str(kept["mode"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls(file)

    def note(self, messages: Sequence[str]) -> None:
        if messages:
            self.unread = (*self.unread, *messages)
            self.save()

    def take(self) -> tuple[str, ...]:
        """The messages, which are now given to the program."""
        taken, self.unread = self.unread, ()
        if taken:
            self.save()
        return taken

    def approve_plan(self, plan: str, edited: JsonObject | None) -> None:
        """A person has approved the plan, which the program is still to be told. edited: with these changes."""
        if edited is not None and "plan" in edited:
            plan = str(edited["plan"])
            told = f"The plan is approved with changes. Carry out this one:\n\n{plan}"
        else:
            told = PLAN_APPROVED
        self.plan = plan
        self.unread = (*self.unread, told)
        self.save()

    def begin(self, mode: str) -> None:
        """Another conversation begins, in this mode: nothing else of it is known yet."""
        self.cost, self.mode = 0.0, mode
        self.save()

    def spent(self, total: float | None) -> float | None:
        """What was spent since the last look, from the conversation's total so far."""
        if total is None:
            return None
        new = total - self.cost if total >= self.cost else total
        self.cost = total
        self.save()
        return new

    def save(self) -> None:
        told = {"unread": list(self.unread), "cost": self.cost, "mode": self.mode}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(told), "utf-8")
        part.replace(self.file)
