"""Patterns of paths: those that models write, with `**` and `{a,b}`, and those of .gitignore files.

Both become regular expressions. `*` and `?` do not cross a slash; `**` as a whole component crosses any number.
"""

from __future__ import annotations

import re
from typing import AnyStr

MAX_ALTERNATIVES = 256


def path_pattern(pattern: str) -> re.Pattern[str]:
    """A model's pattern, to be matched against a whole relative path. Without a slash it may match at any depth.

    Raises ValueError for a pattern that is none.
    """
    alternatives = expanded(pattern.removeprefix("./"))
    return re.compile("|".join(f"(?:{_anywhere(one)})" for one in alternatives), re.DOTALL)


def expanded(pattern: str) -> list[str]:
    """`a{b,c}` as `ab` and `ac`; braces may be nested."""
    found = [pattern]
    done: list[str] = []
    while found:
        one = found.pop()
        parts = _first_braces(one)
        if parts is None:
            done.append(one)
        else:
            before, choices, after = parts
            found.extend(before + choice + after for choice in choices)
        if len(found) + len(done) > MAX_ALTERNATIVES:
            raise ValueError("too many alternatives")
    return done


def translated(pattern: AnyStr) -> AnyStr | None:
    """The regular expression of one pattern without braces; None where a bracket is not closed."""
    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    out: list[str] = []
    at = 0
    while at < len(text):
        if text.startswith("**", at) and (at == 0 or text[at - 1] == "/"):
            end = at + 2
            if end == len(text):
                out.append(".+" if at else ".*")
                at = end
                continue
            if text[end] == "/":
                out.append("(?:.*/)?")
                at = end + 1
                continue
        piece, at = _piece(text, at)
        if piece is None:
            return None
        out.append(piece)
    result = "".join(out)
    return result if isinstance(pattern, str) else result.encode("latin-1")


def _anywhere(pattern: str) -> str:
    expression = translated(pattern.removeprefix("/"))
    if expression is None:
        raise ValueError("a bracket is not closed")
    return expression if "/" in pattern else "(?:.*/)?" + expression


def _piece(text: str, at: int) -> tuple[str | None, int]:
    """One character or bracket of a pattern, and where the next begins."""
    character = text[at]
    if character == "*":
        while at < len(text) and text[at] == "*":
            at += 1
        return "[^/]*", at
    if character == "?":
        return "[^/]", at + 1
    if character == "[":
        return _bracket(text, at)
    if character == "\\":
        return (re.escape(text[at + 1]), at + 2) if at + 1 < len(text) else (None, at + 1)
    return re.escape(character), at + 1


def _bracket(text: str, at: int) -> tuple[str | None, int]:
    """`[abc]`, `[a-z]`, `[!a]`; a `]` that comes first stands for itself."""
    position = at + 1
    negated = text[position : position + 1] in ("!", "^")
    position += negated
    start = position
    body: list[str] = []
    while position < len(text):
        character = text[position]
        if character == "]" and position > start:
            # a class that Python does not know, such as one with a range that runs backwards, matches nothing
            expression = f"(?!/)[{'^' if negated else ''}{''.join(body)}]"
            return (expression if _compiles(expression) else "(?!)"), position + 1
        if character == "\\" and position + 1 < len(text):
            position += 1
            body.append(re.escape(text[position]))
        else:
            body.append("-" if character == "-" else re.escape(character))
        position += 1
    return None, len(text)


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except re.error:
        return False
    return True


def _first_braces(pattern: str) -> tuple[str, list[str], str] | None:
    start = pattern.find("{")
    if start < 0:
        return None
    depth, choices, begin = 0, [], start + 1
    for position in range(start, len(pattern)):
        character = pattern[position]
        if character == "{":
            depth += 1
        elif character == "," and depth == 1:
            choices.append(pattern[begin:position])
            begin = position + 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return pattern[:start], [*choices, pattern[begin:position]], pattern[position + 1 :]
    raise ValueError("a brace is not closed")
