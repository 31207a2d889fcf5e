"""One child process: started by a thread, fed and read to its end, ended with its whole process group.

A thread starts it because only `subprocess` starts a child without copying the engine first (vfork): uvloop
forks, which takes three to five milliseconds in which its loop stands still, as long as a whole git lasts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LEAST = 19  # what is called the lowest priority
GRACE = 2.0  # seconds in which a child that was asked to end may remove its lock files


class Child:
    """Runs once, in a thread; `end` may be called from another one, before, while or after it runs."""

    def __init__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._command, self._cwd, self._environment = command, cwd, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._ended = False

    def run(self, stdin: bytes, timeout: float, gently: bool = False) -> tuple[int, bytes, bytes]:
        """Exit code, output and errors. Raises TimeoutError when it took too long and was ended.

        gently: it and whatever it starts give way to every other program.
        """
        with self._guard:
            if self._ended:
                return -signal.SIGTERM, b"", b""
            self._process = process = subprocess.Popen(
                self._command, cwd=self._cwd, env=self._environment, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        if gently:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, LEAST)
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired as error:
                self.end()
                self._reap(process)
                raise TimeoutError from error
        return process.returncode, stdout, stderr

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send the signal to the child and everything in its process group."""
        with self._guard:
            self._ended = True
            process = self._process
            if process is not None and process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.communicate(timeout=GRACE)
        except subprocess.TimeoutExpired:
            self.end(signal.SIGKILL)
            process.communicate()
