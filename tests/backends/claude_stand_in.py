"""Puts the stand-in for Claude Code on the PATH, with the scenario that it follows."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

STAND_IN = Path(__file__).parent / "stand_ins" / "claude"
OWN_BASH = "mcp__agentpane__Bash"
CLAUDE_TOOLS = ("Read", "Write", "Edit", "Glob", "Grep", "Bash", "TodoWrite", "AskUser")


@contextmanager
def claude_stand_in(folder: Path, scenario: dict[str, Any]) -> Iterator[Path]:
    """`folder` becomes the first one of the PATH, and has the program and its scenario."""
    folder.mkdir(exist_ok=True)
    shutil.copy(STAND_IN, folder / "claude")
    (folder / "scenario.json").write_text(json.dumps(scenario))
    with patch.dict(os.environ, {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}):
        yield folder
