"""The process that forks engines, and one engine of it with a client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from agentpane.api.client import Client
from agentpane.api.command import Command
from agentpane.api.protocol import ALREADY_RUNNING_STATUS
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder
from tests.crash.steps import Point

ROOT = Path(__file__).parent.parent.parent
BOUND_S = 60.0
LOOK_AGAIN_S = 0.03
R = TypeVar("R")


class DiedError(Exception):
    """The engine is gone."""


class Host:
    """Forks engines for one data folder, one after the other. entries: where sequences begin, for `steps.install`."""

    def __init__(self, place: Path, entries: Mapping[str, str]) -> None:
        for name in ("data", "run", "tmp", "home"):
            (place / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = DataFolder((place / "data").resolve())
        self.log = place / "steps.log"
        self._orders = place / "orders.json"
        self._entries = dict(entries)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "COV_"))},
            "AGENTPANE_HOME": str(self.folder.root),
            "HOME": str(place / "home"),
            "TMPDIR": str(place / "tmp"),
            "PYTHONPATH": str(ROOT),
        }
        self.order({})
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.engine"],
            cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.pid = 0
        self._status: int | None = None  # how the engine ended, once it is known
        self._client: Client | None = None
        self._read = 0

    def order(self, points: Mapping[str, Point]) -> None:
        """Say where the engine is to die from now on, by sequence."""
        told = {sequence: point.told() for sequence, point in points.items()}
        beside = self._orders.with_suffix(".new")
        beside.write_text(json.dumps(told))
        beside.replace(self._orders)

    async def start(self) -> None:
        """Start an engine and greet it."""
        request = {"log": str(self.log), "orders": str(self._orders), "entries": self._entries}
        self._begin(request)
        until = time.monotonic() + BOUND_S
        while True:
            try:
                self._client = await Client.connect(self.folder)
                return
            except AgentPaneError as error:
                if error.code is not ErrorCode.ENGINE_UNREACHABLE or time.monotonic() > until:
                    raise
            if not self.lives():
                if await self.buried() != ALREADY_RUNNING_STATUS:
                    raise DiedError
                # A child of the dead one, about to become git, holds what it held for a moment: clients try again too.
                self._begin(request)
            await asyncio.sleep(LOOK_AGAIN_S / 2)

    def _begin(self, request: Mapping[str, Any]) -> None:
        self.pid = int(self._ask("start", environment=self._environment, **request))
        self._status = None

    def lives(self) -> bool:
        try:
            return b"\nState:\tZ" not in Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return False

    async def do(self, command: Command[R]) -> R:
        """Raises DiedError when the engine dies, and what it answers otherwise."""
        if self._client is None:
            raise DiedError
        try:
            return await self._client.do(command)
        except AgentPaneError as error:
            if error.code is not ErrorCode.ENGINE_UNREACHABLE:
                raise
        raise DiedError

    async def buried(self) -> int:
        """Wait for the end of an engine that is dying. Returns its exit status."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        until = time.monotonic() + BOUND_S
        while self.lives():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
            await asyncio.sleep(LOOK_AGAIN_S)
        if self._status is None:
            self._status = int(self._ask("wait", pid=self.pid))
        return self._status

    async def stop(self) -> None:
        """End the engine politely, and the process that forked it."""
        if self.pid and self.lives():
            os.kill(self.pid, signal.SIGTERM)
            await self.buried()
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(10)
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()

    def others(self) -> list[str]:
        """What engines have left running, the present one and its own children aside."""
        return list(self._ask("others", engine=self.pid))

    def new_lines(self) -> list[tuple[str, str, str, float]]:
        """The steps that were taken since the last look: sequence, step, how it was died at, when."""
        if not self.log.exists():
            return []
        data = self.log.read_bytes()
        lines = data[self._read :].splitlines()
        self._read = len(data)
        return [tuple(json.loads(line)) for line in lines]

    def last_words(self) -> str:
        log = self.folder.logs / "engine.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-25:]) if log.exists() else ""

    def _ask(self, do: str, **request: Any) -> Any:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())
