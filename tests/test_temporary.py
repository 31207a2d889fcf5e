"""Temporary folders go with their process, and those of a killed one with the next engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from agentpane import temporary as module
from agentpane.temporary import INNER, MARK, NAME, TemporaryFolder, sweep
from agentpane.temporary import left as left_behind

KILLED = """
import os, signal
from agentpane.temporary import TemporaryFolder
folder = TemporaryFolder("command")
(folder.path / "tmp").mkdir()
(folder.path / "tmp" / "file").touch()
print(folder.path.parent, flush=True)
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


def test_closing_removes_a_folder_and_all_in_it(temporary: Path) -> None:
    with TemporaryFolder("git") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700 and os.listdir(folder) == []
        (folder / "inner").mkdir()
        (folder / "inner" / "read-only").mkdir()
        (folder / "inner" / "read-only" / "file").touch()
        (folder / "inner" / "read-only").chmod(0o500)
    assert not folder.exists() and os.listdir(temporary) == []


def test_what_a_killed_process_left_is_swept_and_what_is_held_is_not(temporary: Path) -> None:
    left = left_by_a_killed_process()
    assert left.parent == temporary and (left / INNER / "tmp" / "file").exists()
    with TemporaryFolder("command") as held:
        assert left_behind() == () and left_behind(fresh_s=0) == (left,)
        sweep(fresh_s=0)
        assert held.exists() and not left.exists()


def test_one_that_was_used_a_moment_ago_is_not_swept_however_old_it_is(temporary: Path) -> None:
    left = left_by_a_killed_process()
    os.utime(left, (0, 0))
    assert left_behind() == ()
    os.utime(left / INNER, (0, 0))
    assert left_behind() == (left,)


def test_what_a_person_has_made_is_left_alone_whatever_it_is_called(temporary: Path) -> None:
    left = left_by_a_killed_process()
    copied = left.with_name("agentpane-command-evidence")
    shutil.copytree(left, copied)
    backup, notes = temporary / "agentpane-git-my_notes", temporary / "agentpane-command-notes_of_mine"
    for folder in (backup, notes):
        folder.mkdir()
        (folder / "thesis.md").write_text("precious")
    linked = temporary / "agentpane-git-a_folder"
    linked.mkdir()
    (linked / MARK).symlink_to(left / MARK)
    assert NAME.fullmatch(backup.name) and NAME.fullmatch(copied.name) and NAME.fullmatch(linked.name)
    assert left_behind(fresh_s=0) == (left,)
    sweep(fresh_s=0)
    assert set(temporary.iterdir()) == {copied, backup, notes, linked}
    assert [(folder / "thesis.md").read_text() for folder in (backup, notes)] == ["precious"] * 2


def test_what_a_sweep_could_not_delete_is_swept_by_the_next(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = left_by_a_killed_process()
    with monkeypatch.context() as mounted:
        mounted.setattr(module, "mounted_in", lambda folder: (folder,))
        sweep(fresh_s=0)
        assert (left / INNER / "tmp" / "file").exists()
    sweep(fresh_s=0)
    assert os.listdir(temporary) == []


def test_one_that_cannot_be_made_leaves_nothing(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_leave_mark", full)
    with pytest.raises(OSError, match="No space"):
        TemporaryFolder("git")
    assert os.listdir(temporary) == []


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
    for folder in (left, left / INNER):
        os.utime(folder, (old, old))
    sweep()
    assert sorted(path.name for path in temporary.iterdir()) == [
        *("agentpane-bench-abc", "agentpane-git-file", "agentpane-git-link", "agentpane-notes"),
    ]
