"""Start a program and learn whether it did its work; what it printed is shown only when it did not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def quietly(command: Sequence[str], cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> bool:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace"))
    return done.returncode == 0


def starts(command: Sequence[str]) -> bool:
    """Whether the program is there and ends well; nothing of it is shown."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
