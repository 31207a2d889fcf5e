"""A shell command as its parts, and whether a prefix of words speaks of one of them.

An allowing prefix is read strictly: what is not certain does not match. A forbidding one is read loosely: it finds
the command behind a path, options and wrappers, and says MAYBE where only the shell knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from agentpane.domain.wrappers import git_options, runs_unseen

Words = tuple[str | None, ...]

_SOCKETS = ("/dev/tcp/", "/dev/udp/")  # the shell connects where a redirection names such a path
# Variables by which a program that is named runs another: the shell's own file, a library, a prompt's command.
_TAKES_OVER = ("BASH_ENV=", "ENV=", "LD_PRELOAD=", "LD_AUDIT=", "PROMPT_COMMAND=", "PS4=", "SHELLOPTS=", "BASHOPTS=")
_BETWEEN = re.compile(r"[\s;|&()`]+")
_ATTACHED = re.compile(r"--[a-z-]+=|-[A-Za-z](?=.)|[A-Za-z_][A-Za-z0-9_]*=")
_QUOTES = re.compile(r"""[\\'"]""")
_EXPANDS = re.compile(r"[$*?\[{]")
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")


@dataclass(frozen=True, slots=True)
class Part:
    """One simple command.

    words: what the shell passes on, None where only the shell knows; one None may become any number of words.
    assigned: how many of the words, in front, set variables.
    wraps: it may run another command that begins at any of its words.
    opaque: no allowing rule can speak of it: an expression, the definition of a function, a setting of the shell's.
    """

    words: Words
    text: str
    assigned: int = 0
    wraps: bool = False
    opaque: bool = False


@dataclass(frozen=True, slots=True)
class Touch:
    """A file that a redirection names; path: None where only the shell knows it."""

    path: str | None
    write: bool
    text: str

    @property
    def only_reads(self) -> bool:
        """Is it certain that a file is read, and no connection opened?"""
        return not self.write and self.path is not None and not self.path.startswith(_SOCKETS)


@dataclass(frozen=True, slots=True)
class Script:
    """A command, taken apart. problem: why it could not be, in words; the parts then tell nothing."""

    text: str
    parts: tuple[Part, ...] = ()
    touches: tuple[Touch, ...] = ()
    problem: str | None = None


class Match(Enum):
    NO = 0
    MAYBE = 1
    YES = 2


def leading_assignments(words: Sequence[str | None]) -> int:
    count = 0
    for word in words:
        if word is None or _ASSIGNED.match(word) is None:
            break
        count += 1
    return count


def covers(prefix: tuple[str, ...], exact: bool, part: Part) -> bool:
    """Whether an allowing rule speaks of this part beyond any doubt."""
    words = part.words
    if part.opaque or len(words) < len(prefix) or (exact and len(words) != len(prefix)):
        return False
    return words[: len(prefix)] == prefix and part.assigned == leading_assignments(prefix)


def forbids(prefix: tuple[str, ...], part: Part) -> Match:
    """Whether a forbidding rule speaks of this part, as far as can be told."""
    if any(word is not None and word.startswith(_TAKES_OVER) for word in part.words):
        return Match.MAYBE
    wanted = prefix[leading_assignments(prefix) :]
    words = part.words[part.assigned :]
    if not wanted or not words:
        return Match.YES if prefix and part.words[: len(prefix)] == prefix else Match.NO
    if not part.wraps:
        return _begins(wanted, words)
    flat = [piece for word in words for piece in _pieces(word)]
    unseen = Match.MAYBE if runs_unseen(words) else Match.NO
    return max((unseen, *(_begins(wanted, flat[at:]) for at in range(len(flat)))), key=lambda match: match.value)


def _pieces(word: str | None) -> Sequence[str | None]:
    """The words in a word that may itself be a command, or an option that has one attached."""
    if word is None:
        return (None,)
    pieces = _BETWEEN.split(word)
    if len(pieces) == 1:
        return pieces
    option = _ATTACHED.match(pieces[0])
    pieces[:1] = [pieces[0]] if option is None else [option[0], pieces[0][option.end() :]]
    return [None if _EXPANDS.search(piece) else _QUOTES.sub("", piece) for piece in pieces]


def _begins(prefix: tuple[str, ...], words: Sequence[str | None]) -> Match:
    """Does a command of these words begin with the prefix, options between its words aside?"""
    name = words[0]
    if name is None:
        return Match.MAYBE
    base = PurePosixPath(name).name.casefold()
    if base.startswith("git-") and prefix[0].casefold() == "git":  # git's own name for its command
        words = (prefix[0], base.removeprefix("git-"), *words[1:])
        base = prefix[0].casefold()
    if base != PurePosixPath(prefix[0]).name.casefold():
        return Match.NO
    rest: list[str | None] = list(words[1:])
    sure = True
    if base == "git" and len(prefix) > 1 and not prefix[1].startswith("-"):
        rest, sure = git_options(rest)
    for wanted in prefix[1:]:
        after_option = False
        while True:
            if not rest:
                return Match.NO if sure else Match.MAYBE
            head = rest.pop(0)
            if head is None:
                return Match.MAYBE
            if head == wanted:
                break
            if head.startswith("-"):
                after_option = "=" not in head
            elif after_option:  # it may be the option's value, or the command's next word
                after_option, sure = False, False
            else:
                return Match.NO if sure else Match.MAYBE
    return Match.YES if sure else Match.MAYBE
