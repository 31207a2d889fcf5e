"""Whether the shell would expand in a script what the grammar has found there, and nothing beside it.

The text is read once more, character by character, against the grammar's tree: each quote, backquote, `$(`, `${`,
`$[`, `<(` and `>(` that the shell acts on must begin or end something that the tree has at this very place. Where one
does not, `CannotTell` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node


class CannotTell(Exception):
    """The command is not taken apart; the argument says why."""


class _Kind(IntEnum):
    """How the shell reads a stretch of text."""

    CODE = 0
    STRING = 1  # between double quotes
    DOCUMENT = 2  # a here-document in which the shell expands
    EXPRESSION = 3  # arithmetic, or an expansion inside the two above: what a quote means there is not decided here
    BRACED = 4  # an expansion outside of quotes, in which no comment begins
    LITERAL = 5


_PLAIN_VARIABLE = re.compile(rb"\$(?:[A-Za-z0-9_]+|[@*#?$!\-])")
_ANSI_C = re.compile(rb"\$'(?:[^'\\]|\\.)*'", re.DOTALL)
_LITERALS = frozenset({"raw_string", "ansi_c_string", "comment"})
_SUBSTITUTIONS = frozenset({"command_substitution", "process_substitution"})
_EXPRESSIONS = frozenset({"arithmetic_expansion", "subscript"})
_ACCOUNTED = frozenset({"`", "${", "$(", "$((", "$[", "<(", ">(", '"'})
_CHECKED = _LITERALS | _SUBSTITUTIONS | {"simple_expansion"}
_RUNS = re.compile(rb"`|\$\(")
_WORD_BEGINS = b" \t\n;&|()<>`"
_BEFORE_COMMENT = b" \t\n;"


def check(root: Node, source: bytes) -> bool:
    """Raises CannotTell. Returns whether quotes hold a substitution, which would run if the text were evaluated."""
    kinds = bytearray(len(source))
    marks: set[int] = set()
    arithmetic: set[int] = set()
    asleep = False
    for span in _spans(root, source):
        if span.differs:
            kinds[span.start : span.end] = bytes([span.kind]) * (span.end - span.start)
        if span.marked:
            marks.add(span.start)
        if span.arithmetic:
            arithmetic.add(span.start)
        if span.kind is _Kind.LITERAL and span.quoted:
            asleep = asleep or _RUNS.search(source, span.start, span.end) is not None
    return _Scan(source, kinds, marks, arithmetic).run() or asleep


@dataclass(frozen=True, slots=True)
class _Span:
    """differs: its kind is not that of the text around. marked: the tree accounts for its first character.

    quoted: a string that the shell passes on as it stands. arithmetic: two brackets that begin an expression.
    """

    start: int
    end: int
    kind: _Kind
    differs: bool
    marked: bool
    quoted: bool
    arithmetic: bool


def _spans(root: Node, source: bytes) -> Iterator[_Span]:
    """The text of every node, those outside before those inside."""
    stack = [(root, _Kind.CODE, _Kind.CODE, False)]
    while stack:
        node, around, outside, substituted = stack.pop()
        if node.type in _CHECKED:
            _check(node, source, around, substituted)
        kind = _kind_of(node, around)
        quoted = node.type in {"raw_string", "ansi_c_string"}
        doubled = node.type in {"((", "$(("}
        marked = quoted or node.type in _ACCOUNTED
        yield _Span(node.start_byte, node.end_byte, kind, kind is not outside, marked, quoted, doubled)
        substituted = substituted or node.type in _SUBSTITUTIONS
        inside = kind
        for child in node.children:
            if child.type == "((":  # the tree makes no node of an arithmetic command
                inside = _Kind.EXPRESSION
            stack.append((child, inside, kind, substituted))
            if child.type == "))":
                inside = kind


def _check(node: Node, source: bytes, around: _Kind, substituted: bool) -> None:
    """Raises CannotTell where the grammar is known to take a node for more or less than the shell does."""
    text = source[node.start_byte : node.end_byte]
    unquoted = around is _Kind.CODE or (around is _Kind.BRACED and node.type != "comment")
    if not unquoted and node.type in _LITERALS | {"process_substitution"}:
        raise CannotTell("what a quote in it means cannot be told")
    if node.type == "simple_expansion" and _PLAIN_VARIABLE.fullmatch(text) is None:
        raise CannotTell("a variable in it is not understood")
    if node.type == "ansi_c_string" and _ANSI_C.fullmatch(text) is None:
        raise CannotTell("where a string ends cannot be told")
    if node.type == "command_substitution" and text.startswith(b"`") and (b"\\" in text or b"`" in text[1:-1]):
        raise CannotTell("it has a backslash or a further backquote between backquotes")
    if node.type == "comment":
        before = source[max(node.start_byte - 2, 0) : node.start_byte]
        if substituted and any(byte in text for byte in b"`\"')"):
            raise CannotTell("where a comment ends cannot be told")
        if before.startswith(b"\\") or (before and before[-1] not in _BEFORE_COMMENT):
            raise CannotTell("where a comment begins cannot be told")


def _kind_of(node: Node, around: _Kind) -> _Kind:
    kind = node.type
    if kind in _LITERALS or kind == "heredoc_start":
        return _Kind.LITERAL
    if kind == "heredoc_body":
        return _Kind.LITERAL if _has_quoted_delimiter(node) else _Kind.DOCUMENT
    if kind in _SUBSTITUTIONS:
        return _Kind.CODE
    if kind == "expansion" and around in {_Kind.CODE, _Kind.BRACED}:
        return _Kind.BRACED
    if kind in _EXPRESSIONS or kind == "expansion":
        return _Kind.EXPRESSION
    if kind == "string" and around is not _Kind.EXPRESSION:
        return _Kind.STRING
    return around


def _has_quoted_delimiter(body: Node) -> bool:
    parent = body.parent
    starts = [child for child in parent.children if child.type == "heredoc_start"] if parent is not None else []
    return any(any(byte in (start.text or b"") for byte in b"'\"\\") for start in starts)


@dataclass(slots=True)
class _Scan:
    """One reading of the text. kinds: of each byte. marks: where the tree accounts for what begins there. arithmetic:
    where it has two brackets."""

    source: bytes
    kinds: bytearray
    marks: set[int]
    arithmetic: set[int]
    asleep: bool = False

    def run(self) -> bool:
        """Returns whether an escaped substitution was met."""
        at = 0
        while at < len(self.source):
            at += 1 if self.kinds[at] == _Kind.LITERAL else self._step(at)
        return self.asleep

    def _step(self, at: int) -> int:
        """Look at one character; how many are done with."""
        kind, here, two = self.kinds[at], self.source[at : at + 1], self.source[at : at + 2]
        if here == b"\\":
            return self._escape(at)
        code = kind in {_Kind.CODE, _Kind.BRACED, _Kind.EXPRESSION}
        if two == b"$$":
            if self.source[at + 2 : at + 3] in {b"(", b"{", b"["}:
                raise CannotTell("a variable in it is not understood")
            return 2
        brackets = self.source[at : at + 3] == b"$((" or (kind == _Kind.CODE and two == b"((")
        if brackets and at not in self.arithmetic:
            raise CannotTell("whether two brackets begin an expression cannot be told")
        if (here == b"'" and code) or (here == b'"' and kind == _Kind.EXPRESSION):
            raise CannotTell("what a quote in it means cannot be told")
        if here == b"#" and kind == _Kind.CODE and (at == 0 or self.source[at - 1] in _WORD_BEGINS):
            raise CannotTell("where a comment begins cannot be told")
        expands = here == b"`" or two in {b"$(", b"${", b"$["} or (code and two in {b"<(", b">("})
        if (expands or (here == b'"' and kind != _Kind.DOCUMENT)) and at not in self.marks:
            raise CannotTell("the shell would expand a piece of it that is not understood")
        return 1

    def _escape(self, at: int) -> int:
        kind, escaped = self.kinds[at], self.source[at + 1 : at + 2]
        if kind == _Kind.DOCUMENT and escaped == b"\n":
            raise CannotTell("it joins two lines of a here-document")
        if kind == _Kind.EXPRESSION and escaped in {b"'", b'"'}:
            raise CannotTell("what a quote in it means cannot be told")
        self.asleep = self.asleep or _RUNS.match(self.source, at + 1) is not None
        return 2
