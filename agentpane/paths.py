"""Where things are on this machine: the data folder, the sockets, and what ships with the program."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

HOME_VARIABLE = "AGENTPANE_HOME"

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """The folder `name` ("migrations" or "resources") that travels with the program.

    In an installed wheel it lies inside the package, in a checkout beside it.
    """
    inside = _PACKAGE / "_data" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One person's data: everything that AgentPane keeps lies under `root`."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "agentpane.db"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def demo(self) -> Path:
        return self.root / "demo"

    @property
    def blobs(self) -> Path:
        """Long tool outputs, stored once beside the database and referred to by hash."""
        return self.root / "blobs"

    @property
    def agents(self) -> Path:
        """What agents that are programs of their own keep: a folder for each task, and in it one for each agent."""
        return self.root / "agents"

    @property
    def scratch(self) -> Path:
        """Where the files of a merge are laid out to be checked; nothing of it outlives its check."""
        return self.root / "scratch"

    @property
    def at_work(self) -> Path:
        """Notes of which git works where, which an engine that was killed leaves to the next."""
        return self.root / "at-work"

    @property
    def lock(self) -> Path:
        """Held by the engine while it lives; the system frees it when the engine dies."""
        return self.root / "engine.lock"

    @property
    def socket(self) -> Path:
        """The engine's door. Short, since a socket's path is limited to about 100 bytes."""
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return runtime_folder() / f"{digest}.sock"

    @property
    def door(self) -> Path:
        """Where the running engine wrote down its socket's place, for clients with another runtime folder."""
        return self.root / "engine.json"

    def make(self) -> None:
        """Create the folders, open to their user only."""
        for folder in (self.root, self.logs, self.backups, self.blobs, self.scratch, self.at_work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)


def data_folder() -> DataFolder:
    """The folder that AGENTPANE_HOME names, else the platform's own place for user data."""
    named = os.environ.get(HOME_VARIABLE)
    root = Path(named).expanduser() if named else Path(platformdirs.user_data_dir("agentpane", appauthor=False))
    return DataFolder(root.resolve())


def runtime_folder() -> Path:
    """The folder of 0700 that holds sockets: under XDG_RUNTIME_DIR, or the temporary folder where that is too long."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and len(runtime) < 60 and os.path.isdir(runtime) and os.access(runtime, os.W_OK):
        return Path(runtime) / "agentpane"
    return Path(tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp") / f"agentpane-{os.getuid()}"
