"""The one place that starts git, always pinned, so that nothing an agent planted can run.

A call names the git folders and the work tree it means (`Place`); git discovers nothing. Hooks, file system
monitors, external diffs, filters, drivers and every protocol are off whatever the configuration says.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import weakref
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.temporary import TemporaryFolder
from agentpane.worktrees.git.child import GRACE, Child
from agentpane.worktrees.git.config import WHOLE, Config, ConfigCache, Pins
from agentpane.worktrees.git.errors import EndlessError as EndlessError
from agentpane.worktrees.git.errors import GitError as GitError
from agentpane.worktrees.git.errors import spoken
from agentpane.worktrees.git.files import endless, endless_anywhere
from agentpane.worktrees.git.notes import READING, Notes

CHUNK = 64 * 1024
TIMEOUT = 120.0
LONG_TIMEOUT = 1800.0  # for checkouts and for adding what an agent left
CONFIG_TIMEOUT = 10.0
LOOK_AFTER = 1.0  # seconds after which it is asked what a call may be waiting for

# Variables that redirect git, or let a child of it run something.
_DROPPED = frozenset({"SSH_ASKPASS", "PAGER", "LESSOPEN", "EDITOR", "VISUAL"})


@dataclass(frozen=True, slots=True)
class Place:
    """What one call of git may see. Without a work tree it gets an empty private folder."""

    git_dir: Path
    common_dir: Path
    work_tree: Path | None = None
    # The configuration whose filters stay in force: none, or those of the person outside of the repository.
    own_filters: bool = False
    allowed_filters: frozenset[str] = frozenset()
    # Every file of a commit is there or is missing, whatever the settings of a sparse checkout leave out.
    whole: bool = False
    # sha1 or sha256: only the objects of `common_dir` are there, and none of the repository's settings or attributes.
    objects_alone: str | None = None
    # What git takes for the work tree in its place; whose word a setting is still goes by the work tree.
    stand_in: Path | None = None


@dataclass(frozen=True, slots=True)
class GitOutput:
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def line(self) -> str:
        """The one line that was printed, such as a commit's name."""
        return self.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@dataclass(frozen=True, slots=True)
class _Call:
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


class GitRunner:
    """Starts git: at most one child a core, ended with its process group when nobody waits for it any more."""

    def __init__(self, program: str = "git", at_once: int | None = None, noted: Path | None = None) -> None:
        """noted: where it is noted which git is at work, for who comes after; None: nobody does."""
        self._program = program
        places = at_once or os.cpu_count() or 1
        self._slots = asyncio.Semaphore(places)
        self._threads = ThreadPoolExecutor(places, thread_name_prefix="git")
        # A stream lasts as long as its reader likes, so it may not hold up other calls.
        self._streams = asyncio.Semaphore(places)
        self._config = ConfigCache()
        private = TemporaryFolder("git")
        self._private = private.path
        (self._private / "empty").mkdir()
        for object_format in ("sha1", "sha256"):
            _make_bare(self._private / object_format, object_format)
        self.notes = Notes(noted or self._private)
        self._remove_private = weakref.finalize(self, private.close)

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        self._remove_private()

    @property
    def private(self) -> Path:
        """A folder that nobody else reads, gone with this runner."""
        return self._private

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A private folder for an index and the like, gone afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self._private))
        try:
            yield folder
        finally:  # it may hold as many files as a worktree
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def run(
        self,
        place: Place | None,
        *arguments: str,
        stdin: bytes = b"",
        ok: Collection[int] = (0,),
        index: Path | None = None,
        config: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = TIMEOUT,
        error: ErrorCode = ErrorCode.INTERNAL,
        gently: bool = False,
    ) -> GitOutput:
        """Run git to its end. Raises GitError with code `error` if it exits with anything not in `ok`.

        place: None only for what needs no repository (`--version`, `init`).
        index: the index file to use in place of the place's own.
        gently: let every other program go first.
        """
        _refuse_endless(place)
        pins = await self._pins(place)
        output = await self._finish(place, arguments, pins, index, config, cwd, stdin, timeout, gently)
        if output.exit_code not in ok:
            command = (self._program, *arguments)
            raise GitError(_refusal(arguments, output), command, output.exit_code, output.stderr, error)
        return output

    async def stream(
        self,
        place: Place,
        *arguments: str,
        ok: Collection[int] = (0,),
        config: Mapping[str, str] | None = None,
        timeout: float = LONG_TIMEOUT,
    ) -> AsyncIterator[bytes]:
        """Yield git's output as it comes, at most 64 KiB at once; ends git when the reader stops early."""
        _refuse_endless(place)
        pins = await self._pins(place)
        async with self._streams:
            call = self._call(place, arguments, pins, None, config, None)
            try:
                process = await asyncio.create_subprocess_exec(
                    *call.command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE, cwd=call.folder, env=call.environment,
                    start_new_session=True, limit=4 * CHUNK,
                )  # fmt: skip
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                raise self._not_started(call, error) from error
            assert process.stdout is not None and process.stderr is not None
            errors = asyncio.ensure_future(_read(process.stderr))
            try:
                async with asyncio.timeout(timeout):
                    chunk = await _first_chunk(place, process.stdout)
                    while chunk:
                        yield chunk
                        chunk = await process.stdout.read(CHUNK)
                    code = await process.wait()
            finally:
                await _end_group(process, process.stdout)
                stderr = await errors
        if code not in ok:
            output = GitOutput(code, b"", stderr)
            raise GitError(_refusal(arguments, output), (self._program, *arguments), code, stderr)

    async def configuration(self, place: Place) -> Mapping[str, str]:
        """The configuration in force, the last value of each key."""
        return (await self.settings(place)).values()

    async def _pins(self, place: Place | None) -> Pins:
        if place is None:
            return Pins()
        config = await self.settings(place)
        return config.pins(place.own_filters, place.allowed_filters, (place.common_dir, place.work_tree))

    async def settings(self, place: Place) -> Config:
        """The whole configuration, with where each setting comes from. Starts git where it may have changed."""
        git_dir, common_dir = self._folders(place)
        config = self._config.get(git_dir)
        if config is None:
            _refuse_endless(place)
            before = self._config.clock()
            command = ("config", "--list", "--show-scope", "--show-origin", "--includes", "-z")
            output = await self._finish(place, command, Pins(), None, None, None, b"", CONFIG_TIMEOUT)
            if output.exit_code != 0:
                raise GitError(_refusal(command, output), (self._program, *command), output.exit_code, output.stderr)
            config = self._config.put(git_dir, common_dir, output.stdout, before)
        named = config.first_endless()
        if named is not None:
            raise EndlessError(named)
        return config

    def _folders(self, place: Place) -> tuple[Path, Path]:
        """The git folder and the common folder that git is told of."""
        if place.objects_alone is None:
            return place.git_dir, place.common_dir
        return self._private / place.objects_alone, self._private / place.objects_alone

    def _call(
        self,
        place: Place | None,
        arguments: Sequence[str],
        pins: Pins,
        index: Path | None,
        config: Mapping[str, str] | None,
        cwd: Path | None,
    ) -> _Call:
        environment = scrubbed_environment()
        folder = cwd or self._private / "empty"
        pinned: list[str] = []
        if place is not None:
            folder = place.stand_in or place.work_tree or self._private / "empty"
            git_dir, common_dir = self._folders(place)
            environment["GIT_COMMON_DIR"] = str(common_dir)
            pinned = [f"--git-dir={git_dir}", f"--work-tree={folder}"]
            if place.objects_alone is not None:
                environment["GIT_OBJECT_DIRECTORY"] = str(place.common_dir / "objects")
            if index is not None:
                environment["GIT_INDEX_FILE"] = str(index)
            elif place.work_tree is None or place.objects_alone is not None:
                environment["GIT_INDEX_FILE"] = str(self._private / "empty" / "index")
        whole = WHOLE if place is not None and place.whole else {}
        _add_config(environment, {**pins.config, **whole, **(config or {})})
        command = (self._program, "--no-pager", "--literal-pathspecs", *pinned, *arguments)
        return _Call(command, folder, environment)

    async def _finish(
        self,
        place: Place | None,
        arguments: Sequence[str],
        pins: Pins,
        index: Path | None,
        config: Mapping[str, str] | None,
        cwd: Path | None,
        stdin: bytes,
        timeout: float,
        gently: bool = False,
    ) -> GitOutput:
        call = self._call(place, arguments, pins, index, config, cwd)
        async with self._slots:
            child = Child(call.command, call.folder, call.environment)
            run = partial(child.run, stdin, timeout, gently)
            # With an index of our own git takes no lock but beside that.
            if place is not None and place.objects_alone is None and index is None and arguments[0] not in READING:
                run = partial(self.notes.at_work, place.git_dir, place.common_dir, arguments[0], run)
            job = asyncio.get_running_loop().run_in_executor(self._threads, run)
            try:
                await _look(place, job)
                return GitOutput(*await asyncio.shield(job))
            except (asyncio.CancelledError, EndlessError):
                await _end_child(child, job)
                raise
            except TimeoutError as error:
                message = f"git {arguments[0]} took longer than {timeout:.0f} s and was stopped."
                raise GitError(message, (self._program, *arguments), None) from error
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                raise self._not_started(call, error) from error

    def _not_started(self, call: _Call, error: OSError) -> AgentPaneError:
        if not call.folder.is_dir():
            message = f"The folder {call.folder} is gone."
            return GitError(message, call.command, None, code=ErrorCode.WORKTREE_NOT_FOUND)
        return AgentPaneError(
            ErrorCode.GIT_MISSING,
            f"Git is not installed, or not on PATH, or cannot be started: {error.strerror}.",
            "Install git 2.38 or newer.",
        )


def scrubbed_environment() -> dict[str, str]:
    """The person's environment without anything that redirects git or answers in its place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") and name not in _DROPPED}
    # Git is started in a worktree, where a relative folder of programs is the agent's.
    programs = [folder for folder in kept.pop("PATH", os.defpath).split(os.pathsep) if os.path.isabs(folder)]
    kept["PATH"] = os.pathsep.join(programs or os.defpath.split(os.pathsep))
    kept.update(
        {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_ALLOW_PROTOCOL": "none",  # overrides protocol.<name>.allow, which protocol.allow does not
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_GRAFT_FILE": os.devnull,
            "GIT_TRACE2": "0",  # these three override what a file says that the person's configuration includes
            "GIT_TRACE2_EVENT": "0",
            "GIT_TRACE2_PERF": "0",
            "GIT_EDITOR": ":",
            "GIT_PAGER": "cat",
            "LC_ALL": "C",
        }
    )
    return kept


def _add_config(environment: dict[str, str], config: Mapping[str, str]) -> None:
    """Hand configuration over by number: unlike `-c`, this takes any name of a filter or driver."""
    environment["GIT_CONFIG_COUNT"] = str(len(config))
    for number, (key, value) in enumerate(config.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value


def _make_bare(folder: Path, object_format: str) -> None:
    """An empty repository, for calls that are to see objects alone."""
    (folder / "refs").mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/none\n")
    version = "0\n" if object_format == "sha1" else f"1\n[extensions]\n\tobjectFormat = {object_format}\n"
    (folder / "config").write_text(f"[core]\n\tbare = false\n\trepositoryFormatVersion = {version}")


def _refuse_endless(place: Place | None) -> None:
    found = None if place is None else endless(place.common_dir, place.git_dir, place.work_tree)
    if found is not None:
        raise EndlessError(found)


async def _look(place: Place | None, job: asyncio.Future[Any]) -> None:
    """Where the job takes long, look for what git may be waiting for. Raises EndlessError."""
    done, _ = await asyncio.wait({job}, timeout=LOOK_AFTER)
    if not done and place is not None:
        found = await asyncio.to_thread(endless_anywhere, place.common_dir, place.work_tree)
        if found is not None:
            raise EndlessError(found)


def _refusal(arguments: Sequence[str], output: GitOutput) -> str:
    said = spoken(output.stderr)
    return f"git {arguments[0]} ended with {output.exit_code}" + (f": {said[:500]}" if said else ".")


async def _read(stream: asyncio.StreamReader) -> bytes:
    parts = bytearray()
    while chunk := await stream.read(CHUNK):
        parts += chunk
    return bytes(parts)


async def _first_chunk(place: Place, stream: asyncio.StreamReader) -> bytes:
    reading = asyncio.ensure_future(stream.read(CHUNK))
    try:
        await _look(place, reading)
        return await reading
    finally:
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})


async def _end_child(child: Child, job: asyncio.Future[tuple[int, bytes, bytes]]) -> None:
    """End git and its children: first politely, so that it removes its lock files."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        child.end(number)
        await asyncio.wait({job}, timeout=GRACE)
        if job.done():
            job.exception()
            return


async def _end_group(process: asyncio.subprocess.Process, unread: asyncio.StreamReader) -> None:
    """End a git whose output was being streamed; unread output would keep the loop from noticing the end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                while await unread.read(CHUNK):
                    pass
                await process.wait()
