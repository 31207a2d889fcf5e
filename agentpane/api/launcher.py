"""Reaching the engine: connect to the one that runs, else start it, detached from whoever needs it first."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from agentpane.api.client import Client, ask_to_make_room
from agentpane.api.protocol import ALREADY_RUNNING_STATUS, ClientKind, unreachable
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder

START_S = 20.0
LOOK_AGAIN_S = 0.02
TRY_AGAIN_S = 0.2
LAST_LINES = 12

# What the engine needs of its first client's surroundings. Everything else, keys above all, stays with the client.
_KEPT_NAMES = frozenset(
    {
        "DBUS_SESSION_BUS_ADDRESS",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "NO_PROXY",
        "PATH",
        "PYTHON_KEYRING_BACKEND",
        "PYTHONPATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    }
)
_KEPT_PREFIXES = ("AGENTPANE_", "LC_", "XDG_")
_SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "API_KEY")


def engine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of a client's environment that the engine may have."""
    return {
        name: value
        for name, value in environment.items()
        if (name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES))
        and not any(word in name.upper() for word in _SECRET_WORDS)
    }


async def ensure_engine(folder: DataFolder) -> None:
    """See to it that an engine serves this data folder. Raises like `connect_or_start`."""
    client = await connect_or_start(folder, ClientKind.COMMAND)
    await client.close()


async def connect_or_start(folder: DataFolder, kind: ClientKind | str = ClientKind.COMMAND, name: str = "") -> Client:
    """Connect to the engine, starting it if none runs and replacing it if it is idle and of another version.

    Raises AgentPaneError with ENGINE_UNREACHABLE, with the engine's last words, if it cannot be started, and with
    ENGINE_VERSION if an engine of another version is busy.
    """
    turn = _Turn(folder)
    try:
        return await _connect_or_start(folder, kind, name, turn)
    finally:
        turn.end()


async def _connect_or_start(folder: DataFolder, kind: ClientKind | str, name: str, turn: _Turn) -> Client:
    deadline = time.monotonic() + START_S
    child: _Child | None = None
    not_before = 0.0  # an engine that is about to end still holds its lock: starting another at once is no use
    while True:
        try:
            return await Client.connect(folder, kind, name)
        except AgentPaneError as error:
            if error.code is ErrorCode.ENGINE_VERSION and error.details.get("engine_version"):
                await _make_room(folder)
            elif error.code is not ErrorCode.ENGINE_UNREACHABLE:
                raise
            if time.monotonic() > deadline:
                raise _gave_up(child, error) from error
        if child is not None and child.status is not None:
            if child.status != ALREADY_RUNNING_STATUS:
                raise _failed(child)
            child, not_before = None, time.monotonic() + TRY_AGAIN_S
        elif child is None and time.monotonic() >= not_before and turn.taken():
            child = _start(folder)
        await asyncio.sleep(LOOK_AGAIN_S)


async def engine_has_ended(folder: DataFolder, within_s: float) -> bool:
    """Wait until no engine holds the data folder. Returns False if one still does after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while _is_held(folder.lock):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_AGAIN_S)
    return True


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def _make_room(folder: DataFolder) -> None:
    try:
        await ask_to_make_room(folder)
    except AgentPaneError as error:
        if error.code is not ErrorCode.ENGINE_UNREACHABLE:
            raise


class _Turn:
    """Of several clients that find no engine, one starts it; the others wait for that one."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def taken(self) -> bool:
        """Take the turn, unless another client has it. The system frees it when that one dies."""
        if self._descriptor is not None:
            return True
        try:
            self._folder.make()
            descriptor = os.open(self._folder.root / "starting.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _cannot_start(self._folder, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def end(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _Child:
    """An engine that was started; a thread waits for its end, so that it leaves no zombie behind."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, log_start: int) -> None:
        self.status: int | None = None
        self._process = process
        self._log = log
        self._log_start = log_start
        threading.Thread(target=self._wait, name="engine-reaper", daemon=True).start()

    def last_words(self) -> str:
        """The last lines that it wrote."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._log_start)
                written = stream.read()[-16_384:]
        except OSError:
            return ""
        return "\n".join(written.decode(errors="replace").splitlines()[-LAST_LINES:])

    def _wait(self) -> None:
        self.status = self._process.wait()


def _start(folder: DataFolder) -> _Child:
    """Start the engine in a session of its own, with the root folder as its place and its log for its words."""
    log = folder.logs / "engine.log"
    try:
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            start = output.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                [sys.executable, "-m", "agentpane", "engine"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={**engine_environment(os.environ), "AGENTPANE_HOME": os.fspath(folder.root)},
                start_new_session=True,
            )
    except OSError as error:
        raise _cannot_start(folder, error) from error
    return _Child(process, log, start)


def _cannot_start(folder: DataFolder, error: OSError) -> AgentPaneError:
    return unreachable(
        f"The engine cannot be started: {error.strerror or error}: {error.filename or folder.root}.",
        "AGENTPANE_HOME names the data folder; it must be one that you can write to.",
    )


def _failed(child: _Child) -> AgentPaneError:
    words = child.last_words()
    return unreachable(
        f"The engine ended as soon as it was started (status {child.status}).\n{words}".rstrip(),
        "The lines above are from logs/engine.log in the data folder. “agentpane doctor” may know more.",
        status=child.status,
        log=words,
    )


def _gave_up(child: _Child | None, error: AgentPaneError) -> AgentPaneError:
    words = child.last_words() if child is not None else ""
    return unreachable(
        f"No engine answered within {START_S:.0f} seconds. {error.message}\n{words}".rstrip(),
        "Look at logs/engine.log in the data folder, then try again.",
        log=words,
    )
