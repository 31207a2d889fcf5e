"""Commands that run another command, and where in their words that one begins.

A wrapper is seen through only in a shape that leaves no doubt about the command inside; in any other it stands for
itself and hides what it runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Words = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Inner:
    """The command that runs in the wrapper's place. assigned: how many of its words, in front, set variables."""

    words: Words
    assigned: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """A script that runs in the wrapper's place."""

    text: str


@dataclass(frozen=True, slots=True)
class Beside:
    """Commands that run as well as the wrapper itself."""

    commands: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class Hidden:
    """It runs something that cannot be told for certain."""


Wrapped = Inner | Code | Beside | Hidden


@dataclass(frozen=True, slots=True)
class _Shape:
    """valued: options that take a value. flags: those that take none. operands: words before the command."""

    valued: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    operands: int = 0


def _shape(valued: str = "", flags: str = "", operands: int = 0) -> _Shape:
    return _Shape(frozenset(valued.split()), frozenset(flags.split()), operands)


_TRANSPARENT: Mapping[str, _Shape] = {
    "command": _shape(),
    "builtin": _shape(),
    "nohup": _shape(),
    "time": _shape(flags="-p"),
    "nice": _shape("-n --adjustment"),
    "ionice": _shape("-c -n", "-t"),
    "timeout": _shape("-k -s --kill-after --signal", "-v --preserve-status --foreground --verbose", 1),
    "stdbuf": _shape("-i -o -e --input --output --error"),
    "setsid": _shape(flags="-w --wait"),
}
_XARGS = _shape(
    "-n -P -L -d -s -E -I --max-args --max-procs --max-lines --delimiter --max-chars",
    "-0 -r -t -x --null --no-run-if-empty --verbose --exit",
)
_QUERIES: Mapping[str, frozenset[str]] = {"command": frozenset({"-v", "-V"})}
_SHELLS = frozenset({"bash", "sh", "dash"})
_SHELL_FLAGS = re.compile(r"[-+][abefhlmnptuvxBCEHPTcoO]+")  # letters that change nothing about what is read
_SHELL_WORDS = frozenset({"--norc", "--noprofile", "--posix", "--login", "--verbose", "--restricted"})
_PLAIN_FOLDERS = ("/bin/", "/usr/bin/")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def _named(words: str) -> frozenset[str]:
    return frozenset(words.split())


# These run what their words say, in ways that are not followed here.
_HIDING = _named(
    "ash busybox chroot coproc chrt cpulimit doas docker entr env eval exec fakeroot firejail fish flock ksh "
    "nsenter parallel pkexec podman prlimit proot rsh runuser script setarch ssh start-stop-daemon strace su "
    "sudo systemd-run taskset timeout toybox trap unshare watch xargs xvfb-run zsh csh tcsh mksh source . npx "
    "bunx numactl ltrace gdb unbuffer chronic gosu setpriv bwrap dbus-run-session caffeinate at batch crontab alias "
    "mapfile readarray compgen uv uvx poetry pipenv pdm hatch bundle conda mamba mise asdf direnv nix hyperfine rlwrap "
    "hash ssh-agent catchsegv tini dumb-init choom linux32 linux64 i386 x86_64 sg faketime retry"
)
# What these run is in a file or comes through a pipe, unless code is among their words.
_READERS = _named("ash bash csh dash fish ksh mksh runuser script sh su tcsh zsh")
_APPENDING = _named("at batch compgen crontab parallel xargs")  # and so it may be for these, whatever their words
# A shell runs in the place of the command, if there is none among so many words.
_OPERANDS: Mapping[str, int] = {"sudo": 1, "doas": 1, "nsenter": 1, "unshare": 1, "chroot": 2, "ssh": 2, "rsh": 2}
_LOGIN = frozenset({"-i", "-s", "--login", "--shell"})
_CODE_FOLLOWS = re.compile(r"-[A-Za-z]*c.*|--(session-)?command(=.*)?", re.DOTALL)
_SPLITS = re.compile(r"-[A-Za-z]*S.*|--s.*", re.DOTALL)
_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_GIT_VALUED = _named("-C -c --git-dir --work-tree --namespace --exec-path --super-prefix --attr-source")


def unwrap(words: Words) -> Wrapped | None:
    """What a command of these words runs; None if it is no wrapper. Leading assignments are not among the words."""
    if not words or words[0] is None:
        return None
    named = words[0]
    name = named.rsplit("/", 1)[-1]
    plain = "/" not in named or any(named == folder + name for folder in _PLAIN_FOLDERS)
    if name == "find":
        return _find(words)
    found: Wrapped | None
    if name in _TRANSPARENT:
        if len(words) > 1 and words[1] in _QUERIES.get(name, frozenset()):
            return None
        found = _behind(words[1:], _TRANSPARENT[name])
    elif name in _SHELLS:
        found = _shell(words)
    elif name == "env":
        found = _env(words[1:])
    elif name == "eval":
        found = _eval(words[1:])
    elif name == "exec":
        found = _behind(words[1:], _Shape())
    elif name == "xargs":
        found = _xargs(words[1:])
    elif name in _HIDING:
        found = Hidden()
    else:
        return None
    return found if plain or found is None else Hidden()


def runs_unseen(words: Words) -> bool:
    """May a command that hides what it runs, of these words, run something that none of them says?"""
    first = words[0] if words else None
    if first in {".", "source"} or (first in {"alias", "hash"} and len(words) > 1):
        return True
    return any(_reads_on(word.rsplit("/", 1)[-1], words[at + 1 :]) for at, word in enumerate(words) if word is not None)


def _reads_on(name: str, words: Words) -> bool:
    rest = [word for word in words if word is not None]
    if name in _READERS:
        return not any(_CODE_FOLLOWS.fullmatch(word) for word in rest)
    if name in _OPERANDS:
        options = [word for word in rest if word.startswith("-")]
        return len(rest) - len(options) < _OPERANDS[name] or (name in {"sudo", "doas"} and not _LOGIN.isdisjoint(rest))
    return name in _APPENDING or (name == "env" and any(_SPLITS.fullmatch(word) for word in rest))


def git_options(words: list[str | None]) -> tuple[list[str | None], bool]:
    """git's words without the options before its command, and whether that is certainly the command that runs."""
    rest, sure = list(words), True
    while rest and rest[0] is not None and rest[0].startswith("-"):
        option = rest.pop(0)
        if option is not None and option.startswith("--config-env"):
            sure = False
            if "=" not in option and rest:
                rest.pop(0)
        elif option in _GIT_VALUED and rest:
            value = rest.pop(0)
            if value is None or (option == "-c" and value.casefold().startswith(("alias.", "include"))):
                sure = False
    return rest, sure


def _behind(words: Words, shape: _Shape) -> Inner | Hidden | None:
    at = _past_options(words, shape)
    if at is None:
        return Hidden()
    operands = words[at : at + shape.operands]
    if None in operands:
        return Hidden()
    inner = words[at + shape.operands :]
    return Inner(inner) if inner else None


def _past_options(words: Words, shape: _Shape) -> int | None:
    """Where the options end; None where that cannot be told."""
    at = 0
    while at < len(words):
        word = words[at]
        if word is None:
            return None
        if word == "--":
            return at + 1
        if not word.startswith("-") or word == "-":
            return at
        if word in shape.valued:
            if at + 1 >= len(words) or words[at + 1] is None:
                return None
            at += 2
        elif word in shape.flags or _attached(word, shape):
            at += 1
        else:
            return None
    return at


def _attached(word: str, shape: _Shape) -> bool:
    """Does the option carry its value itself, as in -n5 or --signal=KILL?"""
    if word.startswith("--"):
        return "=" in word and word.split("=", 1)[0] in shape.valued
    return word[:2] in shape.valued


def _shell(words: Words) -> Wrapped | None:
    """`bash -c CODE`; a shell that reads a file, or what it is given, runs what cannot be told."""
    at, code = 1, False
    while at < len(words):
        word = words[at]
        if word is None:
            return Hidden()
        if word in {"-", "--"} or word[:1] not in {"-", "+"}:
            at += word in {"-", "--"}
            break
        if word.startswith("--"):
            if word not in _SHELL_WORDS:
                return Hidden()
        elif _SHELL_FLAGS.fullmatch(word) is None:
            return Hidden()
        else:
            code = code or (word[0] == "-" and "c" in word)
            at += word.count("o") + word.count("O")  # each takes a word
        at += 1
    text = words[at] if code and at < len(words) else None
    return Hidden() if text is None else Code(text)


def _env(words: Words) -> Wrapped | None:
    count = 0
    while count < len(words):
        word = words[count]
        if word is None or word.startswith("-"):
            return Hidden()
        if _ASSIGNMENT.match(word) is None:
            if "=" in word:
                return Hidden()
            return Inner(words, count)
        count += 1
    return None


def _eval(words: Words) -> Wrapped | None:
    known = [word for word in words if word is not None]
    if len(known) != len(words):
        return Hidden()
    return Code(" ".join(known)) if known else None


def _xargs(words: Words) -> Wrapped | None:
    at = _past_options(words, _XARGS)
    if at is None:
        return Hidden()
    inner = words[at:]
    mark = _replaced(words[:at])
    if mark is None:
        return Inner((*inner, None)) if inner else None
    return Inner(tuple(None if word is None or mark in word else word for word in inner)) if inner else None


def _replaced(options: Words) -> str | None:
    """The text that xargs -I puts its input in place of."""
    for at, option in enumerate(options):
        if option == "-I" and at + 1 < len(options):
            return options[at + 1]
        if option is not None and option.startswith("-I") and len(option) > 2:
            return option[2:]
    return None


def _find(words: Words) -> Wrapped | None:
    """The commands of -exec and the like. A word that only the shell knows may be one of these itself."""
    if None in words:
        return Hidden()
    found: list[Words] = []
    at = 0
    while at < len(words):
        if words[at] not in _FIND_RUNS:
            at += 1
            continue
        end = at + 1
        while end < len(words) and words[end] not in (";", "+"):
            end += 1
        inner = tuple(None if word is None or "{}" in word else word for word in words[at + 1 : end])
        if not inner:
            return Hidden()
        found.append(inner)
        at = end + 1
    return Beside(tuple(found)) if found else None
