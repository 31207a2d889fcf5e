"""What every test stands on: surroundings of its own, and nothing left behind.

A test never sees the git configuration, keys, home folder or sessions of whoever runs it, a test
that is skipped counts as a failure where nothing may be left out, and a process that outlives the
session fails it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from agentpane.__main__ import GARBAGE_THRESHOLDS

# What the machine gave us, for the few tests that build and install as a person would.
HOST_ENVIRONMENT: Mapping[str, str] = dict(os.environ)

MARK = "AGENTPANE_TEST_SESSION"  # every process that a test starts carries it, orphans too
MANY_MODULES = 500  # a test that loads so many has loaded a library that stays
GRACE_S = 10.0  # an engine that was told to stop may still be closing its database

GIT_CONFIG = """\
[user]
\tname = Test Person
\temail = person@example.invalid
[init]
\tdefaultBranch = main
[commit]
\tgpgSign = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("agentpane")
    group.addoption("--long", action="store_true", help="run the tests marked long too")
    group.addoption(
        "--no-skips",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="a skipped test that is not marked long fails (the default where CI=true)",
    )


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background; what tests start would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.getoption("numprocesses", default=None):  # xdist's workers inherit what the machine gave us
        _mask_environment()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    loaded = len(sys.modules)
    try:
        return (yield)
    finally:
        if len(sys.modules) - loaded > MANY_MODULES:
            settle_garbage()


def pytest_collection_finish() -> None:
    settle_garbage()


def settle_garbage() -> None:
    """What is loaded stays: none of the collections that follow need look at it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    expected = hasattr(report, "wasxfail") or item.get_closest_marker("long")
    if report.skipped and not expected and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be left out: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and collector.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be left out: {report.longrepr}"
    return report


def _mask_environment() -> None:
    """Take away what belongs to the host, before anything reads it. Lasts for the whole process."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "GIT_", "XDG_", "AGENTPANE_", "CLAUDE")) or name in {
            "DBUS_SESSION_BUS_ADDRESS",
            "DISPLAY",
            "PYTHONDONTWRITEBYTECODE",  # every program that a test starts would compile the whole of it again
            "SSH_AUTH_SOCK",
            "WAYLAND_DISPLAY",
        }:
            del os.environ[name]
    os.environ.update(
        GIT_CONFIG_SYSTEM=os.devnull,
        GIT_TERMINAL_PROMPT="0",
        LC_ALL="C.UTF-8",
        PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring",
        QT_QPA_PLATFORM=HOST_ENVIRONMENT.get("QT_QPA_PLATFORM", "offscreen"),
    )
    os.environ[MARK] = uuid.uuid4().hex


@pytest.fixture(scope="session", autouse=True)
def session_folder() -> Iterator[Path]:
    """A short-named folder for sockets and the git identity; checks at the end that nothing still runs."""
    folder = Path(tempfile.mkdtemp(prefix="ap-"))
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    config = folder / "gitconfig"
    config.write_text(GIT_CONFIG)
    home = folder / "home"
    home.mkdir()
    os.environ.update(
        XDG_RUNTIME_DIR=str(runtime),
        GIT_CONFIG_GLOBAL=str(config),
        HOME=str(home),
        AGENTPANE_HOME=str(folder / "agentpane"),
    )
    yield folder
    survivors = _survivors()
    shutil.rmtree(folder, ignore_errors=True)
    if survivors:
        pytest.fail("left running after the tests:\n" + "\n".join(survivors))


@pytest.fixture(autouse=True)
def home(session_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder for each test; AGENTPANE_HOME lies in it and is not made yet."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AGENTPANE_HOME", str(folder / "agentpane"))
    return folder


@pytest.fixture
def garbage_on_this_thread() -> Iterator[None]:
    """For tests that make Qt objects: their garbage is collected here, and not on a thread that happens to allocate."""
    gc.disable()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture(scope="session")
def host_environment() -> dict[str, str]:
    """The environment as the machine gave it, for what must reach the person's own package index and caches."""
    return {**HOST_ENVIRONMENT, MARK: os.environ[MARK]}


@pytest.fixture(scope="session")
def xvfb(session_folder: Path) -> Iterator[str]:
    """An X server of our own on a free display; gives its name, as for DISPLAY."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1600x1000x24", "-nolisten", "tcp", "-noreset"]
    with (
        open(reading, "rb") as answer,
        subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        os.close(writing)
        number = answer.readline().decode().strip()
        if not number:
            pytest.fail(f"Xvfb ended with {server.wait()} before it had a display")
        yield f":{number}"
        server.terminate()


def _survivors() -> list[str]:
    """End what the tests left running, and name it."""
    deadline = time.monotonic() + GRACE_S
    left = _marked()
    while left and time.monotonic() < deadline:
        psutil.wait_procs(left, timeout=0.1)
        left = _marked()
    lines = [_describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return lines


def _marked() -> list[psutil.Process]:
    mark = os.environ[MARK]
    own = psutil.Process()
    found = {child.pid: child for child in own.children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.pid != own.pid and process.environ().get(MARK) == mark:
                found[process.pid] = process
        except psutil.Error:
            continue
    return [process for process in found.values() if _alive(process)]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)
