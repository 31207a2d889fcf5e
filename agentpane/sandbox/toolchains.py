"""Which folders hold the programs that PATH names: what a sandbox shows of the machine beside /usr and /opt.

Of a home folder only these are shown. A folder of programs stands for its whole installation (`bin` beside
`lib`, shims beside `versions`) only where it looks like one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# Beside `bin` or `shims`, any of these makes the parent an installation. Its credentials lie elsewhere.
MARKS = ("lib", "libexec", "lib64", "pyvenv.cfg", "versions", "installs", "tools")
PROGRAMS = frozenset({"bin", "sbin", "shims"})
PARENTS_OF_HOMES = frozenset({Path("/home"), Path("/Users")})
NEVER_WHOLE = frozenset({".cargo", ".config", ".local", ".ssh"})
# Found from a folder of programs: (that folder's parent, what else belongs to it, seen from the parent).
COMPANIONS = {
    ".cargo": ("registry", "git", "../.rustup"),
    ".local": ("share/uv/python",),
}
LINKS_FOLLOWED = 400


def toolchain_folders(path: Iterable[Path], homes: Iterable[Path], shown: Iterable[Path]) -> tuple[Path, ...]:
    """The folders to show read-only for the programs of `path`, without those that lie inside `shown`.

    homes: never shown whole, and neither is any folder that holds one of them.
    """
    whole = tuple(Path(os.path.realpath(home)) for home in homes)
    visible = tuple(shown)
    found: list[Path] = []
    for folder in path:
        if any(folder.is_relative_to(other) for other in visible):
            continue
        for candidate in _installation(folder):
            real = Path(os.path.realpath(candidate))
            if real.parent in PARENTS_OF_HOMES or any(home.is_relative_to(real) for home in whole):
                continue
            for one in (candidate, real):
                if one.is_dir() and not any(one.is_relative_to(other) for other in (*visible, *found)):
                    found.append(one)
    return tuple(found)


def _installation(folder: Path) -> Iterator[Path]:
    yield _prefix(folder)
    parent = folder.parent
    for companion in COMPANIONS.get(parent.name, ()):
        yield Path(os.path.normpath(parent / companion))
    yield from _linked(folder)


def _prefix(folder: Path) -> Path:
    """The installation that a folder of programs belongs to, or the folder itself."""
    parent = folder.parent
    if folder.name not in PROGRAMS or parent.name in NEVER_WHOLE or len(parent.parts) < 3:
        return folder
    return parent if any((parent / mark).exists() for mark in MARKS) else folder


def _linked(folder: Path) -> Iterator[Path]:
    """Where the programs of `folder` really lie, such as the environments that a link in ~/.local/bin leads to."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)[:LINKS_FOLLOWED]
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink():
            target = Path(os.path.realpath(entry.path))
            if target.parent.name in PROGRAMS and target.parent != folder and target.exists():
                yield _prefix(target.parent)
                interpreter = Path(os.path.realpath(target.parent / "python"))
                if interpreter.parent.name in PROGRAMS:
                    yield _prefix(interpreter.parent)
