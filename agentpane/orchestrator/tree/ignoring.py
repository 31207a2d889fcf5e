"""What .gitignore files say about a path.

Source: gitignore(5), "PATTERN FORMAT". The last pattern of a file that matches decides, a deeper file goes before
a higher one, and what lies in an ignored folder cannot be taken back. Paths are matched as bytes, as git does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agentpane.orchestrator.tree.globs import translated

MAX_RULES_FILE = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Rule:
    matches: re.Pattern[bytes]  # of the whole path below the file's folder
    only_folders: bool
    ignores: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one file, and the depth of its folder below the root."""

    depth: int
    rules: tuple[Rule, ...]


def parse(content: bytes, depth: int) -> Rules:
    """Lines that are no pattern are left out, as git does."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    rules = (_rule(line) for line in lines)
    return Rules(depth, tuple(rule for rule in rules if rule is not None))


def is_ignored(path: tuple[bytes, ...], is_folder: bool, chain: Iterable[Rules]) -> bool:
    """chain: the rules from the root down to the folder that holds `path`; no folder on the way is ignored."""
    for rules in reversed(tuple(chain)):
        relative = b"/".join(path[rules.depth :])
        for rule in reversed(rules.rules):
            if (is_folder or not rule.only_folders) and rule.matches.fullmatch(relative):
                return rule.ignores
    return False


def _rule(line: bytes) -> Rule | None:
    pattern = _without_trailing_spaces(line.removesuffix(b"\r"))
    if not pattern or pattern.startswith(b"#"):
        return None
    ignores = not pattern.startswith(b"!")
    pattern = pattern if ignores else pattern[1:]
    only_folders = pattern.endswith(b"/")
    pattern = pattern[:-1] if only_folders else pattern
    anchored = b"/" in pattern
    expression = translated(pattern.removeprefix(b"/"))
    if not pattern.removeprefix(b"/") or expression is None:
        return None
    whole = expression if anchored else b"(?:.*/)?" + expression
    return Rule(re.compile(whole, re.DOTALL), only_folders, ignores)


def _without_trailing_spaces(line: bytes) -> bytes:
    while line.endswith(b" ") and not line.endswith(b"\\ "):
        line = line[:-1]
    return line
