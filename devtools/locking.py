"""Make requirements.lock: every version and hash, for every platform, and no address of an index."""

from __future__ import annotations

import subprocess

from devtools import environment
from devtools.environment import LOCK, PROJECT, ROOT
from devtools.words import SetupError, say

HEADER = "# Exact versions with hashes, made by `./dev lock` from pyproject.toml. Not for editing.\n"
OLDEST_PYTHON = "3.11"


def make_lock(arguments: list[str]) -> None:
    """Resolve anew, keeping the versions that still fit unless --upgrade is among the arguments."""
    uv = environment.find_uv()
    if uv is None:
        environment.ready()  # the lock that is there brings a uv
        uv = environment.find_uv()
    if uv is None:
        raise SetupError("uv is neither on PATH nor in .venv.")
    command = [uv, "pip", "compile", PROJECT.name, "--universal", "--python-version", OLDEST_PYTHON]
    command += ["--generate-hashes", "--group", "dev", "--no-header", "--no-emit-index-url", "--quiet"]
    if subprocess.run([*command, "-o", LOCK.name, *arguments], cwd=ROOT, check=False).returncode != 0:
        raise SetupError("uv could not resolve pyproject.toml; what it said stands above. The lock is as it was.")
    LOCK.write_text(HEADER + LOCK.read_text().removeprefix(HEADER))
    say(f"wrote {LOCK.name}")
