"""What we remember of a conversation that the program keeps: what it has not been told yet, and what it has cost.

The file lies beside the program's home folder, where the program cannot write.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAME = "acp.json"


@dataclass(slots=True)
class Memory:
    """unread: messages of a person that were taken and not given to the program. cost: in dollars, as it counted."""

    file: Path
    unread: tuple[str, ...] = ()
    cost: float = 0.0

    @classmethod
    def of(cls, state: Path) -> Memory:
        file = state / NAME
        try:
            kept = json.loads(file.read_text("utf-8"))
            return cls(file, tuple(str(text) for text in kept["unread"]), float(kept["cost"]))
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

    def spent(self, total: float | None) -> float | None:
        """What was spent since the last look, from the conversation's total so far."""
        if total is None:
            return None
        new = total - self.cost if total >= self.cost else total
        self.cost = total
        self.save()
        return new

    def save(self) -> None:
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps({"unread": list(self.unread), "cost": self.cost}), "utf-8")
        part.replace(self.file)
