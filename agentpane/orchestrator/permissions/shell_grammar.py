"""The shell's grammar: a script as its tree, where the grammar and the shell certainly agree on it.

The two do not agree on every text. Where they may differ, `CannotTell` says why. The grammar is loaded when first
needed, so call `parse` off the loop.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from agentpane.orchestrator.permissions.shell_expansions import CannotTell, check

if TYPE_CHECKING:
    from tree_sitter import Language, Node

MAX_BYTES = 64 * 1024

_GAP = re.compile(rb"(?:[ \t\n]|\\\n)*")
_DASH = re.compile(rb"[ \t]+-[ \t]*")
_JOINED_LINES = re.compile(r"(?<![ \t\n])\\\n")
_RUNNING = frozenset({"command", "command_substitution", "process_substitution"})
_EXPANDS = frozenset("*?[~$`")


@dataclass(frozen=True, slots=True)
class Tree:
    """root: of the grammar's tree over `source`. dashes: a lone dash stands where the grammar has dropped it.

    runs: where it has found something that runs; whoever walks the tree must have met each of them.
    asleep: quotes hold a substitution, which would run if the text were evaluated.
    """

    root: Node
    source: bytes
    dashes: bool
    runs: frozenset[tuple[int, int]]
    asleep: bool


def parse(command: str) -> Tree:
    """Raises CannotTell."""
    from tree_sitter import Parser

    _check_text(command)
    source = command.encode()
    root = Parser(_language()).parse(source).root_node
    if root.has_error:
        raise CannotTell("it cannot be parsed as a shell command")
    dashes = _check_leaves(root, source)
    return Tree(root, source, dashes, _runs(root), check(root, source))


def unquoted(text: str) -> str | None:
    """A word without quotes: escapes resolved; None when the shell expands it."""
    out: list[str] = []
    at = 0
    braces = any(brace in text.replace("{}", "") for brace in "{}")  # an empty pair is two plain characters
    while at < len(text):
        character = text[at]
        if character == "\\":
            if at + 1 >= len(text):
                return None
            if text[at + 1] != "\n":
                out.append(text[at + 1])
            at += 2
            continue
        if character in _EXPANDS or (character in "{}" and braces):
            return None
        out.append(character)
        at += 1
    return "".join(out)


def in_quotes(text: str) -> str:
    """What stands between double quotes and expands nothing, escapes resolved."""
    return re.sub(r'\\([\\"$`])', r"\1", text.replace("\\\n", ""))


@cache
def _language() -> Language:
    import tree_sitter_bash
    from tree_sitter import Language

    return Language(tree_sitter_bash.language())


def _check_text(command: str) -> None:
    try:
        size = len(command.encode())
    except UnicodeEncodeError as error:
        raise CannotTell("it holds half a character") from error
    if size > MAX_BYTES:
        raise CannotTell("it is too long to be taken apart")
    for character in command:
        if character in " \t\n" or "!" <= character <= "~":
            continue
        if unicodedata.category(character) in {"Cc", "Cf", "Zs", "Zl", "Zp", "Cs", "Co", "Cn"}:
            raise CannotTell(f"it holds the invisible character U+{ord(character):04X}")
    if _JOINED_LINES.search(command):
        raise CannotTell("it joins two lines inside a word")


def _runs(root: Node) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        stack.extend(node.children)
        if node.type in _RUNNING:
            found.add((node.start_byte, node.end_byte))
    return frozenset(found)


def _check_leaves(root: Node, source: bytes) -> bool:
    """Everything but blanks must be part of what the grammar has recognised.

    Returns whether a lone dash is not: the grammar drops one in front of a here-document.
    """
    end = 0
    dashes = False
    stack = [root]
    while stack:
        node = stack.pop()
        if node.is_missing or node.is_error:
            raise CannotTell("it cannot be parsed as a shell command")
        if node.child_count and node.type not in {"string", "heredoc_body"}:
            stack.extend(reversed(node.children))
            continue
        if node.start_byte < end:
            if node.start_byte != node.end_byte:
                raise CannotTell("its here-documents cannot be told apart")
            continue
        gap = source[end : node.start_byte]
        dash = node.type == "<<" and _DASH.fullmatch(gap) is not None
        if not dash and _GAP.fullmatch(gap) is None:
            raise CannotTell("a piece of it is not understood")
        dashes = dashes or dash
        end = node.end_byte
    if _GAP.fullmatch(source[end:]) is None:
        raise CannotTell("a piece of it is not understood")
    return dashes
