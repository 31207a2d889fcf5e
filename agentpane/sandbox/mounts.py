"""What a command in tier A sees of the file system: an allow-list, as bubblewrap's arguments.

Everything starts from nothing. Programs and the named readable folders are shown read-only, the worktree can be
written, /tmp, /run and the home folder are empty and private. Whatever is not listed here is not there, the
engine's socket and the person's files among it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentpane.domain.sandbox import NetworkMode
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox.command import SandboxCommand
from agentpane.sandbox.environment import home_folder
from agentpane.sandbox.toolchains import toolchain_folders

PROGRAMS = ("/usr", "/opt", "/nix/store", "/gnu/store", "/snap", "/home/linuxbrew/.linuxbrew")
MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

# Configuration that programs need in order to start. Files in which keys are kept (npmrc, pip.conf, gitconfig,
# netrc, shadow, ssh host keys) are not among it.
ETC = (
    "alternatives",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "group",
    "host.conf",
    "hosts",
    "inputrc",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "lsb-release",
    "magic",
    "magic.mime",
    "maven",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki",
    "protocols",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
ETC_NETWORK = ("gai.conf", "resolv.conf")

SETTINGS = ("/proc/sys", "/proc/sysrq-trigger")  # a handler of crashes named there would run on the machine as root
INNARDS = ("/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags")

PRIVATE_SIZE = 2 * 1024**3  # bytes of each private folder; it is memory


def mount_arguments(command: SandboxCommand) -> list[str]:
    """Raises AgentPaneError with SECURITY_SANDBOX_UNAVAILABLE when the worktree is not what it should be."""
    worktree = Path(os.path.realpath(command.worktree))
    if not worktree.is_dir():
        raise AgentPaneError(
            ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
            f"The worktree {command.worktree} is not there, and the command was not run.",
        )
    make_writable(command)
    arguments = [
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        *_kernel(),
        *_system(command.network.mode is NetworkMode.ALL),
        *_private(),
        *_shown(toolchains(command)),
        *_given(command, worktree),
        *_git(worktree),
    ]
    named = Path(os.path.abspath(command.worktree))
    if named != worktree:  # the agent knows it by a name that goes through a link
        arguments += [_kind(command), str(worktree), str(named), *_git(worktree, named)]
    return [*arguments, "--remount-ro", "/", "--chdir", str(command.cwd or command.worktree)]


def make_writable(command: SandboxCommand) -> None:
    """Make the folders that the command may write and that are not there. Blocks."""
    for path in command.writable:
        try:
            if not path.exists():
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise AgentPaneError(
                ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
                f"The folder {path}, which the command is to write, could not be made: {error.strerror}. "
                "The command was not run.",
            ) from error


def _given(command: SandboxCommand, worktree: Path) -> Iterator[str]:
    """What the command was given by name. A folder comes before what lies in it, so that the inner one decides."""
    given = {Path(os.path.realpath(path)): "--ro-bind" for path in command.readable if os.path.exists(path)}
    given.update({Path(os.path.realpath(path)): "--bind" for path in command.writable})
    given[worktree] = _kind(command)
    for path in sorted(given, key=lambda path: len(path.parts)):
        yield from (given[path], str(path), str(path))
    for path in command.writable:
        if (named := Path(os.path.abspath(path))) not in given:  # known by a name that goes through a link
            yield from ("--bind", os.path.realpath(path), str(named))


def _kind(command: SandboxCommand) -> str:
    """How the worktree is mounted."""
    return "--ro-bind" if command.read_only else "--bind"


def _kernel() -> Iterator[str]:
    """Root of the sandbox is root to these files, whatever powers it has lost."""
    for path in SETTINGS:
        if os.path.exists(path):
            yield from ("--ro-bind", path, path)
    for path in INNARDS:
        if os.path.exists(path):
            yield from ("--ro-bind", os.devnull, path)


def _system(network: bool) -> Iterator[str]:
    for path in PROGRAMS:
        if os.path.isdir(path):
            yield from ("--ro-bind", path, path)
    for path in MERGED:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)
    for name in (*ETC, *(ETC_NETWORK if network else ())):
        path = f"/etc/{name}"
        if os.path.exists(path):
            yield from ("--ro-bind", os.path.realpath(path), path)


def _private() -> Iterator[str]:
    for path in ("/tmp", "/run", "/var/tmp", "/dev/shm", str(home_folder())):
        yield from ("--size", str(PRIVATE_SIZE), "--tmpfs", path)


def toolchains(command: SandboxCommand) -> Iterator[Path]:
    """The folders outside the worktree in which the programs of the command's PATH lie."""
    path = tuple(Path(name) for name in command.environment.get("PATH", "").split(os.pathsep) if os.path.isabs(name))
    homes = (home_folder(), Path("/root"), Path("/home"), Path("/tmp"), Path("/var"), Path("/etc"))
    worktree = Path(os.path.realpath(command.worktree))
    for folder in toolchain_folders(path, homes, [worktree, *(Path(name) for name in (*PROGRAMS, *MERGED))]):
        if not worktree.is_relative_to(folder):
            yield folder


def _shown(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        yield from ("--ro-bind", str(folder), str(folder))


def _git(worktree: Path, shown_as: Path | None = None) -> list[str]:
    """The worktree's `.git`, readable only: as a mount it cannot be renamed, replaced or removed either."""
    source = worktree / ".git"
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError:
        return []
    if stat.S_ISLNK(mode):
        raise AgentPaneError(
            ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
            f"{source} is a link, which git did not make, and the command was not run.",
            "Look at what the link leads to; cancel the task to start again in a fresh worktree.",
        )
    return ["--ro-bind", str(source), str((shown_as or worktree) / ".git")]
