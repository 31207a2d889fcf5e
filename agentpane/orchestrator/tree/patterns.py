"""Regular expressions as ripgrep knows them, for Python's `re`: the same lines match, and the same things are refused.

Source: the Rust crate regex, "Syntax". Not known here, and refused in words: properties of characters other than
their general category, verbose patterns, and operations on sets of characters. What a word is made of is Python's
notion, which differs for a few marks and numerals.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

BROKEN = "\udc80-\udcff"  # bytes that are no UTF-8, as surrogateescape has them: nothing but themselves matches them
SPACE = "\\t-\\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
MOST_TIMES = 1000
_POSIX: Mapping[str, str] = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7f",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t-\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_ESCAPES: Mapping[str, str] = {"a": "\a", "f": "\f", "t": "\t", "r": "\r", "v": "\v"}
_NO_EDGE = r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))"  # unlike \B it is also in an empty line
_ANCHORS: Mapping[str, str] = {"b": r"\b", "B": _NO_EDGE, "A": r"\A", "z": r"\Z"}
_NEGATED: Mapping[str, str] = {SPACE: "\\S\\x1c-\\x1f", "\\d": "\\D", "\\w": "\\W"}
_CATEGORIES: Mapping[str, str] = {"letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S"}
_COUNTED = re.compile(r"\{\s*([0-9]+)\s*(?:(,)\s*([0-9]*)\s*)?\}")
_FLAGS = re.compile(r"\(\?([A-Za-z]*(?:-[A-Za-z]+)?)([:)])")
_NAMED = re.compile(r"\(\?P?<([A-Za-z_][A-Za-z0-9_.\[\]]*)>")
_CODE = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|[xuU]\{([0-9A-Fa-f]{1,8})\}")
_PROPERTY = re.compile(r"[pP](?:([A-Za-z])|\{(\^?)([A-Za-z_]+)\})")


class PatternError(ValueError):
    """The pattern cannot be used, in words."""


def compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """To be searched for in one line, without its end. Raises PatternError."""
    try:
        return re.compile(translated(pattern), re.IGNORECASE if ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(str(error)) from error


def translated(pattern: str) -> str:
    return _Translation(pattern).whole()


@dataclass(slots=True)
class _Group:
    """One that is open. flags: those set inside of it so far, each opening a group that ends with this one."""

    head: str
    done: list[str] = field(default_factory=list)  # alternatives that are whole
    atoms: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    before: list[list[str]] = field(default_factory=list)  # what stood in front of each flag

    def alternative(self) -> str:
        text = "".join(self.atoms)
        for flag, before in zip(reversed(self.flags), reversed(self.before), strict=True):
            text = f"{''.join(before)}(?{flag}:{text})"
        return text

    def turn(self) -> None:
        """Another alternative begins, under the same flags."""
        self.done.append(self.alternative())
        self.atoms, self.before = [], [[] for _ in self.flags]

    def whole(self) -> str:
        return f"{self.head}{'|'.join([*self.done, self.alternative()])}"


class _Translation:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._groups = [_Group("")]
        self._names: set[str] = set()
        self._wide = False  # the set that is read holds a class that is negated

    def whole(self) -> str:
        while self._at < len(self._pattern):
            self._step(self._pattern[self._at])
        if len(self._groups) > 1:
            raise PatternError("unclosed group")
        return self._groups[0].whole()

    def _step(self, character: str) -> None:
        if character == "(":
            self._open()
        elif character == ")":
            self._at += 1
            if len(self._groups) == 1:
                raise PatternError("unopened group")
            self._add(self._groups.pop().whole() + ")")
        elif character == "|":
            self._at += 1
            self._groups[-1].turn()
        elif character in "*+?{":
            self._repeat(character)
        elif character == "[":
            self._add(self._set())
        elif character == "\\":
            self._at += 1
            self._add(self._escape())
        else:
            self._at += 1
            plain = {".": f"[^\\n{BROKEN}]", "^": "^", "$": r"\Z"}
            self._add(plain.get(character) or re.escape(character))

    def _add(self, atom: str) -> None:
        self._groups[-1].atoms.append(atom)

    def _open(self) -> None:
        rest = self._pattern[self._at :]
        flags, named = _FLAGS.match(rest), _NAMED.match(rest)
        if named is not None:
            if named[1] in self._names:
                raise PatternError(f"there are two groups named {named[1]}")
            self._names.add(named[1])
            self._at += named.end()
            self._groups.append(_Group("(?:"))
        elif flags is not None and flags[1]:
            self._at += flags.end()
            self._flag(_flags(flags[1]), flags[2] == ":")
        elif rest.startswith("(?:"):
            self._at += 3
            self._groups.append(_Group("(?:"))
        elif rest.startswith("(?"):
            raise PatternError("look-around, backreferences and the like are not supported")
        else:
            self._at += 1
            self._groups.append(_Group("(?:"))

    def _flag(self, flags: str, opens: bool) -> None:
        if opens:
            self._groups.append(_Group(f"(?{flags}:" if flags else "(?:"))
        elif flags:  # from here to the end of the group
            group = self._groups[-1]
            group.before.append(group.atoms)
            group.flags.append(flags)
            group.atoms = []

    def _repeat(self, sign: str) -> None:
        atoms = self._groups[-1].atoms
        found = _COUNTED.match(self._pattern, self._at)
        if sign == "{" and found is None:
            raise PatternError("a counted repetition is not closed or has no number; write \\{ for the character")
        if not atoms:
            raise PatternError("there is nothing in front of a repetition")
        counted = sign
        self._at += 1
        if found is not None:
            least, most = int(found[1]), int(found[3] or found[1])
            if most < least or most > MOST_TIMES:
                raise PatternError("the numbers of a repetition are not right, or too large")
            counted = f"{{{found[1]}{found[2] or ''}{found[3] or ''}}}"
            self._at = found.end()
        if self._pattern.startswith("?", self._at):
            counted, self._at = counted + "?", self._at + 1
        atoms[-1] = f"(?:{atoms[-1]}){counted}"

    def _escape(self) -> str:
        """What follows a backslash, outside of a set."""
        character = self._next()
        if character in _ANCHORS:
            self._at += 1
            return _ANCHORS[character]
        body = self._class()
        if body is not None:
            negated, inside = body
            return f"[^{inside}{BROKEN}]" if negated else f"[{inside}]"
        return re.escape(self._literal())

    def _class(self) -> tuple[bool, str] | None:
        r"""Of `\d`, `\pL` and the like: whether it is negated, and what stands in its brackets; None for no class."""
        character = self._next()
        if character in "dDsSwW":
            self._at += 1
            return character.isupper(), SPACE if character in "sS" else f"\\{character.lower()}"
        if character not in "pP":
            return None
        found = _PROPERTY.match(self._pattern, self._at)
        if found is None:
            raise PatternError("a property of characters is not closed")
        self._at = found.end()
        name = found[1] or found[3]
        return (character == "P") != bool(found[2]), _category(_CATEGORIES.get(name.lower(), name))

    def _literal(self) -> str:
        """An escaped character; the backslash is behind us."""
        character = self._next()
        code = _CODE.match(self._pattern, self._at)
        if code is not None:
            self._at = code.end()
            number = int(next(group for group in code.groups() if group), 16)
            if number > sys.maxunicode or 0xD800 <= number <= 0xDFFF:
                raise PatternError("there is no character of that number")
            character = chr(number)
        elif character in _ESCAPES:
            self._at += 1
            return _ESCAPES[character]
        elif character.isascii() and character.isalnum():
            raise PatternError(f"unrecognized escape sequence \\{character}")
        else:
            self._at += 1
        if character == "\n":
            raise PatternError("lines are searched one by one; there is no line break in them")
        return character

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise PatternError("incomplete escape sequence at the end of the pattern")
        return self._pattern[self._at]

    def _set(self) -> str:
        """A set in brackets."""
        self._wide = False
        negated, inside = self._items()
        if negated:
            return f"[^{inside}{BROKEN}]"
        return f"(?:(?![{BROKEN}])[{inside}])" if self._wide else f"[{inside}]"

    def _items(self) -> tuple[bool, str]:
        """From `[` to its `]`: whether it is negated, and its items as Python writes them."""
        self._at += 1
        negated = self._pattern.startswith("^", self._at)
        self._at += negated
        out: list[str] = []
        while self._pattern.startswith("-", self._at):
            out.append(r"\-")
            self._at += 1
        if self._pattern.startswith("]", self._at) and not out:
            out.append(r"\]")
            self._at += 1
        while not self._pattern.startswith("]", self._at):
            out.append(self._item())
        self._at += 1
        return negated, "".join(out)

    def _item(self) -> str:
        rest = self._pattern[self._at :]
        if not rest:
            raise PatternError("unclosed character class")
        if rest.startswith(("&&", "--", "~~")):
            raise PatternError("operations on character classes are not known here")
        if rest.startswith("[:") and ":]" in rest:
            return self._posix(rest[2 : rest.index(":]")])
        if rest.startswith("["):
            negated, inside = self._items()
            if negated:
                raise PatternError("a negated character class inside of another is not known here")
            return inside
        first = self._end_of_range()
        if len(first) != 1:
            return first
        if not self._pattern.startswith("-", self._at) or self._pattern[self._at + 1 : self._at + 2] in ("]", "-", ""):
            return _inside(first)
        self._at += 1
        last = self._end_of_range()
        if len(last) != 1 or last < first:
            raise PatternError("invalid range in a character class")
        return f"{_inside(first)}-{_inside(last)}"

    def _end_of_range(self) -> str:
        """One character, or the items of a class such as `\\d`, which are more than one."""
        character = self._next()
        self._at += 1
        if character != "\\":
            return character
        body = self._class()
        if body is None:
            return self._literal()
        if not body[0]:
            return body[1]
        if body[1] not in _NEGATED:
            raise PatternError("a negated property inside of a character class is not known here")
        self._wide = True
        return _NEGATED[body[1]]

    def _posix(self, name: str) -> str:
        if name not in _POSIX:
            raise PatternError(f"the class [:{name}:] is not known here")
        self._at += len(name) + 4
        return _POSIX[name]


def _inside(character: str) -> str:
    return "\\" + character if character in r"\]^-[&~|" else character


def _flags(given: str) -> str:
    """Those that mean something for one line; `u`, `m`, `s` and `R` change nothing there."""
    on, _, off = given.partition("-")
    unknown = set(on + off) - set("imsuR")
    if unknown or "u" in off:
        raise PatternError(f"the flags {given} are not known here")
    return ("i" if "i" in on else "") + ("-i" if "i" in off else "")


@cache
def _category(name: str) -> str:
    """All characters of a general category such as `L` or `Lu`, as ranges."""
    ranges: list[tuple[int, int]] = []
    for number in range(sys.maxunicode + 1):
        if not 0xD800 <= number <= 0xDFFF and unicodedata.category(chr(number)).startswith(name):
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1] = ranges[-1][0], number
            else:
                ranges.append((number, number))
    if not ranges:
        raise PatternError(f"the property {name} of characters is not known here")
    return "".join(f"{_inside(chr(low))}-{_inside(chr(high))}" for low, high in ranges)
