"""Which Claude Code there is on this machine, and whether the person is signed in with it.

Nothing is started and nobody is asked: it is found by looking at files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode

NAME = "claude"
PACKAGE = "claude_agent_sdk"
CREDENTIALS = ".credentials.json"
SOON_S = 60.0  # a sign-in that ends within this time is taken for ended


@dataclass(frozen=True, slots=True)
class SignIn:
    """The person's own sign-in, as the program keeps it. ended: it has to be renewed first."""

    token: str = field(repr=False)
    ended: bool


def find_program() -> Path:
    """The program of the PATH, else the one inside an installed claude_agent_sdk, which is not imported for it.

    Raises AgentPaneError with AGENT_BACKEND_MISSING. Blocks.
    """
    found = shutil.which(NAME)
    if found is not None:
        return Path(found).absolute()
    package = importlib.util.find_spec(PACKAGE)
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "_bundled" / NAME
        if os.access(bundled, os.X_OK):
            return bundled
    raise AgentPaneError(
        ErrorCode.AGENT_BACKEND_MISSING,
        f"Claude Code is not installed: there is no program “{NAME}” on the PATH.",
        "Install it, or install AgentPane with its extra `claude`, which brings it along. Nothing has changed.",
    )


def installation(program: Path) -> tuple[Path, ...]:
    """The folders that the program needs in order to start: where it is named, and where it really lies."""
    folders: list[Path] = []
    for one in (program, Path(os.path.realpath(program))):
        packages = [parent for parent in one.parents if parent.name == "node_modules"]
        folders.append(packages[-1] if packages else one.parent)
    return tuple(dict.fromkeys(folders))


def sign_in(environment: Mapping[str, str] = os.environ) -> SignIn | None:
    """What the person's own Claude Code has stored; None when that is nothing that can be read. Blocks."""
    home = environment.get("CLAUDE_CONFIG_DIR") or os.path.join(environment.get("HOME", "/"), ".claude")
    try:
        stored = json.loads((Path(home) / CREDENTIALS).read_bytes())
        account = stored["claudeAiOauth"]
        token, ends = account["accessToken"], account.get("expiresAt")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(token, str) or not token:
        return None
    ended = isinstance(ends, int | float) and ends / 1000 < time.time() + SOON_S
    return SignIn(token, ended)


def signed_in(environment: Mapping[str, str] = os.environ) -> bool | None:
    """Whether a run without a key would have an account. None: that cannot be known from files. Blocks."""
    stored = sign_in(environment)
    if stored is not None:
        return not stored.ended
    return None if os.uname().sysname == "Darwin" else False  # there it is kept in the keychain
