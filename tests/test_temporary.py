"""Temporary folders go with their process, and those of a killed one with the next engine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from agentpane.temporary import TemporaryFolder, sweep
from agentpane.temporary import left as left_behind

KILLED = """
import os, signal
from agentpane.temporary import TemporaryFolder
folder = TemporaryFolder("command")
(folder.path / "tmp").mkdir()
(folder.path / "tmp" / "file").touch()
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def left_by_a_killed_process() -> Path:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False, timeout=60)
    assert killed.returncode == -9
    return Path(killed.stdout.strip())


def test_closing_removes_a_folder_and_all_in_it() -> None:
    with TemporaryFolder("git") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "inner").mkdir()
        (folder / "inner" / "read-only").mkdir()
        (folder / "inner" / "read-only" / "file").touch()
        (folder / "inner" / "read-only").chmod(0o500)
    assert not folder.exists()


def test_what_a_killed_process_left_is_swept_and_what_is_held_is_not(temporary: Path) -> None:
    left = left_by_a_killed_process()
    assert left.parent == temporary and (left / "tmp" / "file").exists()
    with TemporaryFolder("command") as held:
        assert left_behind() == () and left_behind(fresh_s=0) == (left,)
        sweep(fresh_s=0)
        assert held.exists() and not left.exists()


def test_what_is_fresh_or_not_ours_by_name_or_a_link_is_left_alone(temporary: Path) -> None:
    left = left_by_a_killed_process()
    person, bench = temporary / "agentpane-notes", temporary / "agentpane-bench-abc"
    for folder in (person, bench):
        folder.mkdir()
    (temporary / "agentpane-git-link").symlink_to(person)
    (temporary / "agentpane-git-file").touch()
    sweep()
    assert left.exists()  # it may be one that somebody is just making
    old = time.time() - 3600
    os.utime(left, (old, old))
    sweep()
    assert sorted(path.name for path in temporary.iterdir()) == [
        *("agentpane-bench-abc", "agentpane-git-file", "agentpane-git-link", "agentpane-notes"),
    ]
