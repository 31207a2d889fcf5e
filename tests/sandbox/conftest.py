"""Sandboxes that really run, and a way to see what they leave behind."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agentpane.domain.sandbox import NO_NETWORK
from agentpane.sandbox import (
    BareSandbox,
    BubblewrapSandbox,
    LandlockSandbox,
    Sandbox,
    SandboxCommand,
    ceiling,
    find_bubblewrap,
    find_landlock,
    tool_environment,
)
from agentpane.sandbox.landlock import abi

from . import ordinary

HERE = Path(__file__).parent
FIXTURES = {"A": "bubblewrap", "B": "landlock"}

Order = Callable[..., SandboxCommand]

# Fixtures that stand for what a machine may lack: their tests are then left out, and that is said.
LACKING: dict[str, Callable[[], str | None]] = {
    "landlock": lambda: None if abi() else "tier B: this kernel has no Landlock",
    "control_group": lambda: None if _can_group() else "fork bombs in sessions: no control group can be made here",
    "ordinary_user": ordinary.lacking,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {name: reason for name, lacks in LACKING.items() if (reason := lacks()) is not None}
    gone = [item for item in items if item.path.is_relative_to(HERE) and reasons.keys() & _wants(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


def pytest_report_collectionfinish() -> list[str]:
    return [f"left out: {reason}" for lacks in LACKING.values() if (reason := lacks()) is not None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the matrix could not try on this machine."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    found = {value for report in reports for name, value in report.user_properties if name == "not tried"}
    if found:
        terminalreporter.section("attempts on the sandbox that this machine does not allow for")
        terminalreporter.write("".join(f"{value}\n" for value in sorted(map(str, found))))


def _wants(item: pytest.Item) -> set[str]:
    wanted = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    in_tier_b = callspec is not None and "B" in callspec.params.values()
    return wanted | {"landlock"} if in_tier_b else wanted


def _can_group() -> bool:
    group = ceiling.make(10)
    ceiling.remove(group)
    return group is not None


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    folder = tmp_path / "worktree"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nowhere\n")
    return folder


@pytest.fixture(scope="session")
def bubblewrap() -> BubblewrapSandbox:
    found = find_bubblewrap()
    if isinstance(found, str):
        pytest.fail(f"tier A cannot be tested on this machine: {found}")
    return found


@pytest.fixture(scope="session")
def landlock() -> LandlockSandbox:
    found = find_landlock()
    if isinstance(found, str):
        pytest.fail(f"tier B cannot be tested on this machine: {found}")
    return found


@pytest.fixture(params=["A", "B", "C"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    found: Sandbox = request.getfixturevalue(FIXTURES[request.param]) if request.param in FIXTURES else BareSandbox()
    return found


@pytest.fixture
def control_group() -> None:
    """A test that needs the kernel to hold a command's processes together."""


@pytest.fixture(scope="session")
def ordinary_user() -> Iterator[ordinary.User]:
    """Somebody who is not root, and can run this source."""
    with ordinary.user() as found:
        yield found


@pytest.fixture
def order(worktree: Path) -> Order:
    """A command in the worktree, with the usual environment."""

    def make(script: str, **changes: object) -> SandboxCommand:
        usual: dict[str, object] = {
            "worktree": worktree,
            "readable": (),
            "environment": tool_environment(worktree),
            "timeout_s": 30.0,
            "network": NO_NETWORK,
        }
        return SandboxCommand(script, **{**usual, **changes})  # type: ignore[arg-type]

    return make


class Runaways:
    """Processes that try everything not to be ended, and can be recognised by what they wait for."""

    def __init__(self, folder: Path) -> None:
        self.ready = folder / f"ready-{uuid.uuid4().hex}"
        self._seconds = str(10**6 + uuid.uuid4().int % 10**9)

    @property
    def script(self) -> str:
        """Starts four: plain, with nohup, in an own session, and forked away twice; two ignore SIGTERM."""
        stubborn = f"trap '' TERM HUP INT; sleep {self._seconds}; sleep {self._seconds}"
        return f"""
            sleep {self._seconds} &
            nohup sleep {self._seconds} >/dev/null 2>&1 </dev/null &
            setsid bash -c "{stubborn}" >/dev/null 2>&1 </dev/null &
            (setsid bash -c "({stubborn}) & exit" >/dev/null 2>&1 </dev/null &)
            until [ "$(grep -slz 'sleep' /proc/[0-9]*/cmdline | wc -l)" -ge 4 ]; do :; done
            touch {self.ready}
        """

    def alive(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
                if any(self._seconds in word for word in line) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(line))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def runaways(worktree: Path) -> Runaways:
    return Runaways(worktree)


async def ready(runaways: Runaways) -> None:
    """Wait until all of them run, while the loop goes on."""
    await asyncio.to_thread(until, runaways.ready.exists, "the command's processes")


def until(condition: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    """Block until something outside this process is so."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within_s} s in vain for: {what}")
        time.sleep(0.005)
