"""A small machine to attack: a home folder with keys, a repository with two worktrees, servers and processes.

Each attempt gets a scene of its own. Scripts name its parts as @name@; what costs something (a listening socket, a
process) is laid when it is first named. All secrets of a scene are the same unguessable word.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pty
import re
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

from .homes import HOME_FILES

ROOM = Path("/var/tmp")  # not /tmp, which tiers treat in ways of their own; short, since sockets' names are limited
PLACEHOLDER = re.compile(r"@([a-z_0-9]+)@")
ENVIRONMENT_SECRETS = (
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "NPM_TOKEN",
    "DATABASE_URL",
    "PGPASSWORD",
    "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS",
    "http_proxy",
)

Entry = tuple[object, ...]


class Scene:
    """Base folder, and everything below it. Bring it to its end, and remove it."""

    def __init__(self, template: Path) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="apm-", dir=ROOM))
        self.secret, self.mark = secrets.token_hex(12), _mark()
        shutil.copytree(template, self.base, symlinks=True, dirs_exist_ok=True)
        self.main, self.home, self.out = self.base / "project", self.base / "home", self.base / "out"
        self.common = self.main / ".git"
        self.worktree, self.other = self.main / ".worktrees" / "one", self.main / ".worktrees" / "two"
        self.data, self.run = self.home / "agentpane", self.base / "run"
        self._closing = contextlib.ExitStack()
        self._laid: dict[str, str] = {}
        self._listeners: list[socket.socket] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.terminal = -1
        self.pipe = -1
        self._lay_files()
        self._fresh = (self.outside(), self._content())

    def remove(self) -> None:
        """Remove its files; it has come to its end before."""
        shutil.rmtree(self.base, ignore_errors=True)

    def used_again(self) -> bool:
        """Make it fresh for the next attempt, which is cheap where nothing outside has changed; else False."""
        self.end()
        outside, content = self._fresh
        if self.outside() != outside:
            return False
        self.mark, self._laid = _mark(), {}
        if self._content() != content:
            _empty(self.worktree)
            for name, data in content.items():
                (self.worktree / name).write_bytes(data)
        return self._content() == content and self.outside() == outside

    def end(self) -> None:
        """Close and end what was laid."""
        for listener in self._listeners:
            listener.close()
        for process in self.processes:
            process.kill()
            process.wait()
        self._listeners, self.processes = [], []
        self._closing.close()

    def _content(self) -> dict[str, bytes]:
        """The files of the worktree, which has no folders; `.git` belongs to the outside."""
        entries = [path for path in self.worktree.iterdir() if path.name != ".git"]
        return {path.name: _beginning(path) if _is_file(path) else b"\0" for path in entries}

    def on_close(self, action: Callable[[], object]) -> None:
        self._closing.callback(action)

    def filled(self, script: str) -> str:
        """The script with every @name@ replaced."""
        return PLACEHOLDER.sub(lambda match: self.part(match[1]), script)

    def part(self, name: str) -> str:
        folder = getattr(self, name, None)
        if isinstance(folder, Path | str):
            return str(folder)
        if name not in self._laid:
            lay: Callable[[], object] = getattr(self, f"lay_{name}")
            self._laid[name] = str(lay())
        return self._laid[name]

    def lay(self, name: str, value: object) -> None:
        """Let scripts name as @name@ what an attempt has laid itself."""
        self._laid[name] = str(value)

    @property
    def gitdir(self) -> Path:
        """The worktree's own folder below the common one."""
        return self.common / "worktrees" / "one"

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[None]:
        """This process as the engine of the scene: its home, its keys in the environment, its runtime folder."""
        before = dict(os.environ)
        os.environ.update(dict.fromkeys(ENVIRONMENT_SECRETS, self.secret))
        interpreter = Path(os.path.realpath(_interpreter())).parent
        os.environ.update(
            HOME=str(self.home),
            AGENTPANE_HOME=str(self.data),
            XDG_RUNTIME_DIR=str(self.run),
            PATH=f"{interpreter}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        )
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def heard(self) -> bool:
        """Has anybody reached one of the scene's servers?"""
        return any(_reached(listener) for listener in self._listeners)

    def piped(self) -> bytes:
        """What has been written into the scene's FIFO."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.pipe, 4096)
        return b""

    def typed(self) -> bytes:
        """What has been written to the scene's terminal."""
        with contextlib.suppress(BlockingIOError, OSError):
            return os.read(self.terminal, 4096)
        return b""

    def outside(self) -> dict[str, Entry]:
        """Everything but the worktree's content, as it can be changed: kind, mode, owner, times, links, content."""
        found: dict[str, Entry] = {}
        for folder, folders, names in os.walk(self.base):
            if folder == str(self.worktree):
                folders[:] = [name for name in folders if name == ".git"]
                names = [name for name in names if name == ".git"]
            else:
                found[folder] = _entry(folder)
            for name in [*names, *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
                path = os.path.join(folder, name)
                found[path] = _entry(path)
        found.pop(str(self.worktree), None)
        return found

    def lay_unix(self) -> str:
        return self.listening(self.run / "service.sock")

    def lay_door(self) -> str:
        """The engine's door, at the very place where an engine of this home would open it."""
        path = self.run / "door.sock"
        if importlib.util.find_spec("platformdirs") is not None:  # another user's Python has none
            from agentpane.paths import DataFolder

            path = DataFolder(self.data).socket
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return self.listening(path)

    def lay_tmp_unix(self) -> str:
        path = Path(f"/tmp/{self.mark}.sock")
        self.on_close(lambda: path.unlink(missing_ok=True))
        return self.listening(path)

    def lay_x11(self) -> str:
        folder = Path("/tmp/.X11-unix")
        with contextlib.suppress(PermissionError):
            folder.mkdir(mode=0o1777, exist_ok=True)
        path = folder / self.mark.replace("mark", "X")
        self.on_close(lambda: path.unlink(missing_ok=True))
        return self.listening(path)

    def lay_datagram(self) -> str:
        return self.listening(self.run / "log.sock", socket.SOCK_DGRAM)

    def lay_packets(self) -> str:
        return self.listening(self.run / "packets.sock", socket.SOCK_SEQPACKET)

    def lay_abstract(self) -> str:
        self.listening(f"\0{self.mark}")
        return self.mark

    def lay_abstract_datagram(self) -> str:
        self.listening(f"\0{self.mark}d", socket.SOCK_DGRAM)
        return f"{self.mark}d"

    def listening(self, path: Path | str, kind: int = socket.SOCK_STREAM) -> str:
        server = socket.socket(socket.AF_UNIX, kind)
        self._listeners.append(server)
        server.bind(str(path))
        self._open(server)
        return str(path)

    def lay_tcp(self) -> int:
        return self._port(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1")

    def lay_tcp_any(self) -> int:
        return self._port(socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0")

    def lay_tcp6(self) -> int:
        return self._port(socket.AF_INET6, socket.SOCK_STREAM, "::1")

    def lay_tcp_beside(self) -> int:
        """Another loopback address at the port of @tcp@."""
        return self._port(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.2", int(self.part("tcp")))

    def lay_host(self) -> str:
        """This machine's name."""
        return socket.gethostname()

    def lay_free(self) -> int:
        """A port on which nobody listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def lay_udp(self) -> int:
        return self._port(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1")

    def lay_udp6(self) -> int:
        return self._port(socket.AF_INET6, socket.SOCK_DGRAM, "::1")

    def lay_fifo(self) -> str:
        path = self.out / "fifo"
        os.mkfifo(path)
        self.pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.on_close(lambda: os.close(self.pipe))
        return str(path)

    def lay_pty(self) -> str:
        self.terminal, other_end = pty.openpty()
        os.set_blocking(self.terminal, False)
        for end in (self.terminal, other_end):
            self._closing.callback(os.close, end)
        return os.ttyname(other_end)

    def lay_victim(self) -> int:
        """A process of the same user that knows the secret, in its environment, its memory and its command line."""
        environment = {**os.environ, "VICTIM_KEY": self.secret}
        victim = subprocess.Popen(
            ["/bin/sh", "-c", 'IFS= read -r line; : "$0"', f"{self.mark}victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=self.out,
            start_new_session=True,
        )
        assert victim.stdin is not None
        self._closing.callback(victim.stdin.close)
        self.processes.append(victim)
        return victim.pid

    def _port(self, family: socket.AddressFamily, kind: int, host: str, port: int = 0) -> int:
        server = socket.socket(family, kind)
        self._listeners.append(server)
        server.bind((host, port))
        self._open(server)
        return int(server.getsockname()[1])

    def _open(self, server: socket.socket) -> None:
        if server.type != socket.SOCK_DGRAM:
            server.listen()
        server.setblocking(False)

    def _lay_files(self) -> None:
        for path in (self.main, self.other):
            (path / "notes.txt").write_text(f"not committed {self.secret}\n")
        for name in HOME_FILES:
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {name} {self.secret}\n")
        (self.out / "secret.txt").write_text(f"secret {self.secret}\n")
        (self.out / "names").mkdir()
        (self.out / "names" / self.secret).touch()
        (self.out / "pointer").symlink_to(self.secret)
        (self.out / "folder").mkdir()
        (self.out / "folder" / "inner.txt").write_text("inner\n")
        (self.out / "program.sh").write_text(f"#!/bin/sh\necho {self.secret}\n")
        (self.out / "program.sh").chmod(0o755)
        config = self.common / "config"
        config.write_text(
            f'{config.read_text()}[remote "origin"]\n\turl = https://bot:{self.secret}@example.invalid/x\n'
        )
        for name in ("one", "two"):
            own = self.common / "worktrees" / name
            (own / "gitdir").write_text(f"{self.main}/.worktrees/{name}/.git\n")
            (self.main / ".worktrees" / name / ".git").write_text(f"gitdir: {own}\n")


class Stage:
    """Gives scenes, one at a time; one that an attempt has left as it was serves the next.

    The disk is slow at making and removing many small files, so that both are done while an attempt runs.
    """

    def __init__(self) -> None:
        self._spare: Scene | None = None
        self._beside = ThreadPoolExecutor(1)
        self._next: Future[Scene] | None = None

    @contextlib.contextmanager
    def scene(self) -> Iterator[Scene]:
        """A fresh scene, in whose surroundings the block runs."""
        made, self._spare = self._spare or self._new(), None
        fresh = False
        try:
            with made.surroundings():
                yield made
            fresh = made.used_again()
        finally:
            if fresh:
                self._spare = made
            else:
                made.end()
                self._next = self._next or self._beside.submit(Scene, _template())
                self._beside.submit(made.remove)

    def close(self) -> None:
        coming = None if self._next is None else self._next.result()
        for scene in (self._spare, coming):
            if scene is not None:
                scene.end()
                scene.remove()
        self._beside.shutdown()

    def _new(self) -> Scene:
        coming, self._next = self._next, None
        return Scene(_template()) if coming is None else coming.result()


@cache
def _template() -> Path:
    """A repository with two worktrees, made by git once a process; scenes are copies of it."""
    folder = Path(tempfile.mkdtemp(prefix="apm-template-"))
    for name in ("project", "home", "out", "run"):
        (folder / name).mkdir()
    (folder / "run").chmod(0o700)
    script = f"""
        cd {folder}/project; git init -q -b main --template= .; mkdir .git/hooks .git/info
        echo '# none' > .git/info/exclude; echo '.worktrees' > .gitignore; echo first > file.txt; git add .
        git -c user.name=T -c user.email=t@example.invalid commit -qm first; git tag v1; git branch spare
        for name in one two; do git worktree add -q .worktrees/$name -b $name; done
    """
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["/bin/sh", "-ec", script], check=True, stdin=subprocess.DEVNULL, timeout=60, env=environment)
    return folder


def forget_template() -> None:
    """Remove what the scenes were copied from."""
    if _template.cache_info().currsize:
        shutil.rmtree(_template(), ignore_errors=True)
        _template.cache_clear()


@cache
def _interpreter() -> str:
    """The interpreter itself, not a shim that starts it slowly."""
    import sys

    return os.path.join(sys.base_prefix, "bin", "python3") if sys.platform != "win32" else sys.executable


def _mark() -> str:
    return f"mark{secrets.token_hex(6)}"


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _empty(folder: Path) -> None:
    """Remove all but `.git`."""
    for path in folder.iterdir():
        if path.name == ".git":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _reached(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_DGRAM:
            listener.recv(4096)
        else:
            listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _entry(path: str) -> Entry:
    status = os.lstat(path)
    content: object = None
    if stat.S_ISREG(status.st_mode):
        content = _beginning(path)
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    attributes = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in _attributes(path))
    numbers = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, status.st_nlink)
    return (*numbers, content, attributes)


def _beginning(path: Path | str) -> bytes:
    with contextlib.suppress(PermissionError), open(path, "rb") as file:  # its mode may have been changed
        return file.read(4096)
    return b"\0"


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []
