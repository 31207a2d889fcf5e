"""What the machine must have beside Python, as data: libraries that Qt opens, programs, fonts, their packages."""

from __future__ import annotations

import ctypes
import enum
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

GIT_FLOOR = (2, 38)  # the first with `merge-tree --write-tree`


class Use(enum.Flag):
    """What a command is going to do with the machine."""

    GIT = enum.auto()
    QT = enum.auto()
    X11 = enum.auto()
    AGENTS = enum.auto()
    TESTS = enum.auto()


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is not there."""

    what: str
    packages: tuple[str, ...]  # Debian's and Ubuntu's names; the first that exists is enough
    brew: str | None = None
    without: str | None = None  # what is not offered then; None: nothing goes without it


@dataclass(frozen=True, slots=True)
class Program:
    """A command that has to be on PATH."""

    name: str
    packages: tuple[str, ...]
    uses: Use
    brew: str | None = None
    without: str | None = None
    platforms: frozenset[str] = field(default=frozenset({"linux", "darwin"}))


# The soname that Qt opens, and the package that holds it. Addressed by soname: that is what the loader looks for.
QT_LIBRARIES: Mapping[str, str] = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
X11_LIBRARIES: Mapping[str, str] = {
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}

LINUX = frozenset({"linux"})
PROGRAMS: tuple[Program, ...] = (
    Program(
        "bwrap",
        ("bubblewrap",),
        Use.AGENTS,
        without="agents' commands cannot be confined by bubblewrap, so more of them are asked for",
        platforms=LINUX,
    ),
    Program("rg", ("ripgrep",), Use.AGENTS, brew="ripgrep", without="agents search files more slowly"),
    Program("Xvfb", ("xvfb",), Use.TESTS, platforms=LINUX),
)

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
FONT_PACKAGES = ("fonts-inter", "fonts-jetbrains-mono", "fonts-dejavu-core")


def lacking(uses: Use) -> list[Lack]:
    """What the machine lacks for these uses. Nothing that only adds comfort is optional where tests run."""
    lacks = [
        *_lacking_git(uses),
        *_lacking_libraries(QT_LIBRARIES if Use.QT in uses else {}),
        *_lacking_libraries(X11_LIBRARIES if Use.X11 in uses else {}),
        *_lacking_programs(uses),
        *(_lacking_fonts() if Use.QT in uses else ()),
    ]
    if Use.TESTS in uses:
        return [Lack(lack.what, lack.packages, lack.brew) for lack in lacks]
    return lacks


def git_version(text: str) -> tuple[int, int] | None:
    """The first two numbers of what `git --version` prints, such as `git version 2.39.5 (Apple Git-154)`."""
    found = re.search(r"\b(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _lacking_git(uses: Use) -> Iterable[Lack]:
    if Use.GIT not in uses:
        return
    wanted = ".".join(map(str, GIT_FLOOR))
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        yield Lack(f"git {wanted} or newer", ("git",), brew="git")
        return
    version = git_version(done.stdout)
    if version is None or version < GIT_FLOOR:
        yield Lack(f"git {wanted} or newer (this is {done.stdout.strip()})", ("git",), brew="git")


def _lacking_libraries(libraries: Mapping[str, str]) -> Iterable[Lack]:
    if sys.platform != "linux":
        return
    for soname, package in libraries.items():
        try:
            ctypes.CDLL(soname)
        except OSError:
            yield Lack(f"{soname}, which Qt opens", (package,))


def _lacking_programs(uses: Use) -> Iterable[Lack]:
    for program in PROGRAMS:
        wanted = program.uses in uses and sys.platform in program.platforms
        if wanted and shutil.which(program.name) is None:
            yield Lack(program.name, program.packages, program.brew, program.without)


def _lacking_fonts() -> Iterable[Lack]:
    """One face for text and one of fixed width: without any, Qt draws boxes."""
    if sys.platform != "linux":
        return
    names = [
        name.lower()
        for folder in FONT_FOLDERS
        for _, _, files in os.walk(Path(folder).expanduser())
        for name in files
        if name.lower().endswith((".ttf", ".otf", ".ttc", ".pfb", ".t1"))
    ]
    fixed = any("mono" in name or "courier" in name or "code" in name for name in names)
    proportional = any("mono" not in name for name in names)
    if not (fixed and proportional):
        yield Lack("a font for text and one of fixed width", FONT_PACKAGES)
