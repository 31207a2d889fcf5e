"""How ./dev speaks: to stderr, so that the output of a command that it starts stays whole."""

from __future__ import annotations

import sys

EXIT_USAGE = 2
EXIT_SURROUNDINGS = 6  # the same status as the program's own for a machine that lacks something


class SetupError(Exception):
    """Something that the person can mend; the message says what and how."""

    def __init__(self, message: str, status: int = EXIT_SURROUNDINGS) -> None:
        super().__init__(message)
        self.status = status


def say(message: str) -> None:
    print(f"dev: {message}", file=sys.stderr, flush=True)
