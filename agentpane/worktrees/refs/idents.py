"""Who git would say has done something, and when: as it stands in commits and in the logs of refs."""

from __future__ import annotations

import time
from collections.abc import Mapping

from agentpane.worktrees.git.config import FALLBACK_EMAIL, FALLBACK_NAME

_CRUD = "".join(map(chr, range(33))) + ".,:;<>\"\\'"


def ident(values: Mapping[str, str], role: str) -> str | None:
    """`NAME <EMAIL>` of the author or committer; None where git would have to guess, or would say it otherwise.

    values: the configuration in force. Without any identity in it, it is the program's own.
    """
    found = []
    for part, fallback in (("name", FALLBACK_NAME), ("email", FALLBACK_EMAIL)):
        told = values.get(f"{role}.{part}") or values.get(f"user.{part}")
        if not told and not values.get(f"author.{part}"):
            told = fallback
        found.append(_plain(told or ""))
    name, email = found
    try:
        name.encode(), email.encode()
    except UnicodeEncodeError:
        return None
    return f"{name} <{email}>" if name and email else None


def clock() -> str:
    """The present second and the local offset, as git writes them."""
    return f"{int(time.time())} {time.strftime('%z')}"


def _plain(text: str) -> str:
    return "".join(character for character in text.strip(_CRUD) if character not in "<>\n\0")
