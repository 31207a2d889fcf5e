"""An ordinary user, whom root becomes for some tests; whoever is not root is one already.

Only a Python that this user may run will do, and it has the standard library alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NOBODY = 65534
SOURCE = Path(__file__).parents[2]
PACKAGES = ("agentpane", "tests/sandbox/matrix")
NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 11))"


@dataclass(frozen=True, slots=True)
class User:
    """folder: their own, with a copy of the source and a home in it."""

    uid: int
    python: str
    folder: Path

    def run(self, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.python, "-B", *arguments],
            **_as(self.uid),  # type: ignore[call-overload]
            env={
                "PATH": f"{Path(self.python).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "HOME": str(self.folder / "home"),
                "PYTHONPATH": str(self.folder / "source"),
                "LC_ALL": "C.UTF-8",
            },
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return done


def lacking() -> str | None:
    return None if _python() else "an ordinary user: root runs this, and there is no Python 3.11 that another may run"


@contextmanager
def user() -> Iterator[User]:
    python = _python()
    assert python is not None
    uid = os.getuid() or NOBODY
    folder = Path(tempfile.mkdtemp(prefix="ap-user-"))
    for package in PACKAGES:
        shutil.copytree(SOURCE / package, folder / "source" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "home").mkdir()
    if uid != os.getuid():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid)
    try:
        yield User(uid, python, folder)
    finally:
        shutil.rmtree(folder)


@cache
def _python() -> str | None:
    if os.getuid():
        return sys.executable
    for path in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        try:
            tried = subprocess.run([path, "-I", "-c", NEW_ENOUGH], **_as(NOBODY), cwd="/", check=False)  # type: ignore[call-overload]
        except OSError:
            continue
        if not tried.returncode:
            return path
    return None


def _as(uid: int) -> dict[str, object]:
    return {"user": uid, "group": uid, "extra_groups": []} if uid != os.getuid() else {}
