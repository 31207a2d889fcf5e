"""Whether some program may hold a lock of git's: asked of every process, and whatever cannot be asked may.

Git closes a lock file long before it renames it, while an editor is open for instance, so that who has it open says too
little: any git that is about the repository, or about one of its worktrees wherever that lies, may hold a lock.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from agentpane.worktrees.places import registered
from agentpane.worktrees.values import Repository

# They take no lock, and some last: a pager is open, or a daemon watches the files.
_HARMLESS = frozenset(
    {"annotate", "blame", "cat-file", "for-each-ref", "fsmonitor--daemon", "grep", "help", "log", "ls-files", "ls-tree"}
    | {"rev-list", "rev-parse", "shortlog", "show"}
)
_TAKES_ONE = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--super-prefix"})
_SAID = ("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "PWD")


def may_be_held(repo: Repository, locks: Collection[Path]) -> bool:
    """Whether a process that lives may be the one that made these lock files, or may need them. Blocks."""
    places = tuple(_whole(each) for each in _places(repo))
    files = frozenset(_whole(lock) for lock in locks)
    owners = {os.getuid(), *_owners(locks)}
    return any(_may_hold(process, places, files, owners) for process in psutil.process_iter())


def _places(repo: Repository) -> Iterator[Path]:
    yield from (repo.path, repo.common_dir, repo.git_dir)
    if repo.common_dir.name == ".git":
        yield repo.common_dir.parent
    with suppress(OSError):
        yield from (path for _, path in registered(repo))


def _owners(locks: Iterable[Path]) -> Iterator[int]:
    for lock in locks:
        with suppress(OSError):
            yield lock.lstat().st_uid


def _may_hold(process: psutil.Process, places: tuple[str, ...], files: frozenset[str], owners: Collection[int]) -> bool:
    try:
        if process.uids().real not in owners:
            return False
        is_git = process.name().lstrip(".").startswith("git")  # a wrapper hides the name that it had
    except (psutil.Error, OSError):
        return False  # it has ended
    try:
        opened = [_whole(path) for path in _opened(process)]
        return not files.isdisjoint(opened) or (is_git and _is_about(process, places, opened))
    except (psutil.NoSuchProcess, psutil.ZombieProcess, FileNotFoundError):
        return False
    except (psutil.Error, OSError):
        return is_git  # what a git is about is not told


def _opened(process: psutil.Process) -> list[str]:
    if not sys.platform.startswith("linux"):
        return [opened.path for opened in process.open_files()]
    found = []
    for name in os.listdir(f"/proc/{process.pid}/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{process.pid}/fd/{name}"))
    return [path for path in found if path.startswith(os.sep)]


def _is_about(process: psutil.Process, places: tuple[str, ...], opened: Iterable[str]) -> bool:
    """Whether anything that a git was told, or has open, leads into one of these places."""
    line = process.cmdline()
    if _command(line[1:]) in _HARMLESS:
        return False
    here, environment = process.cwd(), process.environ()
    words = [word.rpartition("=")[2] for word in line[1:]]
    said = [environment.get(name, "") for name in _SAID]
    named = (_whole(os.path.join(here, path)) for path in (here, *said, *words) if path)
    return any(_is_in(path, places) for path in (*named, *opened))


def _command(words: Sequence[str]) -> str:
    """Which of git's commands a command line means; empty where it is none of them."""
    given = iter(words)
    for word in given:
        if word in _TAKES_ONE:
            next(given, None)
        elif not word.startswith("-"):
            return word
    return ""


def _is_in(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}{os.sep}") for place in places)


def _whole(path: str | Path) -> str:
    return os.path.realpath(path)
