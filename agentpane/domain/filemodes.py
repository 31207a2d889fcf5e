"""What a changed file is beside its text: a symbolic link, a program, a submodule, a file that steers git. In words.

Modes are git's six octal digits, 000000 where the file is absent, empty where they are not known.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from agentpane.domain.gitpaths import display_path

ABSENT = "000000"
PROGRAM = "100755"
LINK = "120000"
SUBMODULE = "160000"

LINK_LIMIT = 4096  # bytes of a target that are read; no system follows a longer one
_SHOWN = 60  # characters of a target that are shown
_SHOWN_COMMIT = 7

# Files that git reads when somebody merges or checks out; the names of some file systems ignore case.
_STEERING = frozenset({".gitattributes", ".gitmodules", ".gitconfig", ".lfsconfig"})


@dataclass(frozen=True, slots=True)
class FileNote:
    """One thing to know about a changed file. `attention`: a reader should stop at it."""

    text: str
    attention: bool = False


def file_notes(path: str, old_mode: str, new_mode: str, target: str | None) -> tuple[FileNote, ...]:
    """What the modes of a change say, what needs attention first.

    target: where a symbolic link leads, or the commit of a submodule, after the change; None where it is not known.
    """
    notes: list[FileNote] = []
    if new_mode == LINK:
        warning = _warning(path, target)
        notes += [FileNote(warning, attention=True)] if warning else []
    if posixpath.basename(path).lower() in _STEERING:
        notes.append(FileNote("changes how git treats files", attention=True))
    words = _words(old_mode, new_mode, target)
    return (*notes, FileNote(words)) if words else tuple(notes)


def _words(old: str, new: str, target: str | None) -> str:
    kept = new == old
    if new == LINK:
        kind = "symbolic link" if kept else "new symbolic link" if old in {"", ABSENT} else "now a symbolic link"
        return f"{kind} → {_shown(target)}"
    if new == SUBMODULE:
        kind = "submodule" if kept or old in {"", ABSENT} else "now a submodule"
        return f"{kind} at {(target or '')[:_SHOWN_COMMIT]}"
    was = {LINK: "symbolic link", SUBMODULE: "submodule"}.get(old)
    if was is not None:
        executable = ", executable" if new == PROGRAM else ""
        return f"{was} removed" if new in {"", ABSENT} else f"{was} → now a file{executable}"
    if new == PROGRAM and not kept:
        return "new, executable" if old in {"", ABSENT} else "made executable"
    return "no longer executable" if old == PROGRAM and new not in {"", ABSENT, PROGRAM} else ""


def _shown(target: str | None) -> str:
    if target is None:
        return "a target too long to be one"
    text = display_path(target)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[1 - _SHOWN // 2 :]}"


def _warning(path: str, target: str | None) -> str:
    """What is wrong with where a link leads, judged by the names alone: a link on the way is not followed."""
    if target is None or target.startswith("/") or target[1:2] == ":" or "\\" in target:
        return "leads outside"
    parts = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)).split("/")
    if parts[0] == "..":
        return "leads outside"
    return "leads into git's own files" if ".git" in {part.lower() for part in parts} else ""
