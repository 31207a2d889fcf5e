"""Taking a shell command apart: what it would run and which files it would open. Nothing is run or looked up.

A construct that is not known here makes the command one that cannot be taken apart. Call `read` off the loop: the
grammar is loaded when first needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agentpane.domain import wrappers
from agentpane.domain.shell import Part, Script, Touch, Words
from agentpane.orchestrator.permissions.shell_expansions import CannotTell
from agentpane.orchestrator.permissions.shell_grammar import in_quotes, parse, unquoted

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DEPTH = 12  # of scripts inside scripts, and of wrappers


def _named(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CARRIERS = _named(
    "program list pipeline subshell compound_statement do_group if_statement elif_clause else_clause while_statement "
    "negated_command redirected_statement command_substitution process_substitution case_statement case_item"
)
_WORDS = _named(
    "word number raw_string string ansi_c_string translated_string concatenation simple_expansion expansion "
    "arithmetic_expansion brace_expression extglob_pattern command_substitution process_substitution "
    "special_variable_name regex"
)
_EVALUATING = frozenset({"!", ":", "@"})  # ${!x}, ${x:1:2}, ${x@P}
_PLAIN_EXPANSION = frozenset({"${", "}", "variable_name", "special_variable_name"})
_RESERVED = _named("if then else elif fi do done case esac while until for in function select { } ! [[ ]]")
_SETTERS = _named(
    "alias unalias export declare typeset local readonly unset let set shopt enable hash bind read mapfile "
    "readarray getopts wait complete compopt"
)
_MOVES = frozenset({"cd", "pushd", "popd", "chdir"})
_NOWHERE = frozenset({"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/stdin", "/dev/tty"})
_HARMLESS_LOOP_NAME = re.compile(r"[a-z][a-z0-9]*")
_PLAIN_PATH = re.compile(r"[\w./+@%,-]+")
_PLAIN_DELIMITER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|'[A-Za-z_][A-Za-z0-9_]*'|\"[A-Za-z_][A-Za-z0-9_]*\"")
_SEPARATOR = re.compile(rb"(?:\\\n)*[ \t](?:[ \t]|\\\n)*")


def read(command: str) -> Script:
    """The parts of a command. Never raises for what a model sends."""
    try:
        reading = _Reading()
        _read_into(reading, command, 0)
    except CannotTell as reason:
        return Script(command, problem=str(reason))
    except RecursionError:
        return Script(command, problem="it is nested too deeply")
    if reading.asleep and reading.evaluates:
        reading.parts.append(Part((None,), command, wraps=True, opaque=True))
    parts, touches = tuple(reading.parts), tuple(reading.touches)
    if reading.moves:  # a relative path means something else in another folder
        parts = tuple(replace(part, opaque=True) if _relative(part) else part for part in parts)
        touches = tuple(
            touch if touch.path is None or touch.path.startswith("/") else Touch(None, touch.write, touch.text)
            for touch in touches
        )
    return Script(command, parts, touches)


def _relative(part: Part) -> bool:
    """Is the command a program that is named by where it lies from here?"""
    name = part.words[part.assigned] if len(part.words) > part.assigned else None
    return name is not None and "/" in name and not name.startswith("/")


@dataclass(slots=True)
class _Reading:
    parts: list[Part] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)
    moves: bool = False
    asleep: bool = False  # a substitution stands in quotes
    evaluates: bool = False  # a text may be read as an expression, and a substitution in it then runs


def _read_into(reading: _Reading, command: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CannotTell("it is nested too deeply")
    tree = parse(command)
    if tree.dashes:
        reading.parts.append(Part((), command, opaque=True))
    reading.asleep = reading.asleep or tree.asleep
    walk = _Walk(reading, tree.source, depth)
    walk.visit(tree.root)
    if not tree.runs <= walk.met:
        raise CannotTell("a piece of it that runs is not understood")


class _Walk:
    """Goes through the tree of one script and notes what it would run and which files it would open."""

    def __init__(self, reading: _Reading, source: bytes, depth: int) -> None:
        self._reading = reading
        self._source = source
        self._depth = depth
        self.met: set[tuple[int, int]] = set()

    def visit(self, node: Node) -> None:
        """Take in a statement."""
        kind = node.type
        self.met.add((node.start_byte, node.end_byte))
        if kind == "command":
            self._command(node)
        elif kind == "comment":
            return
        elif kind in _CARRIERS:
            self._carrier(node)
        elif kind in {"for_statement", "c_style_for_statement"}:
            self._loop(node)
        elif kind in {"declaration_command", "unset_command"}:
            self._declaration(node)
        elif kind in {"variable_assignment", "variable_assignments"}:
            self._assignments(node)
        elif kind == "function_definition":
            self._opaque(node)
            for child in node.named_children:
                if child.type != "word":
                    self.visit(child)
        elif kind == "test_command":
            self._expression(node)
            self._look(node)
        elif kind == "file_redirect":
            self._redirect(node)
        elif kind == "heredoc_redirect":
            self._heredoc(node)
        elif kind == "herestring_redirect":
            self._look(node)
        else:
            raise CannotTell(f"it holds a construct that is not known here ({kind})")

    def _carrier(self, node: Node) -> None:
        if node.children and node.children[0].type == "((":
            self._expression(node)
            self._look(node)
            return
        for child in node.named_children:
            if child.type in _WORDS and node.type in {"case_statement", "case_item"}:
                self._look(child)
            elif child.type in {"command_substitution", "process_substitution"} or child.type not in _WORDS:
                self.visit(child)
            else:
                raise CannotTell("a word stands where a command was expected")

    def _command(self, node: Node) -> None:
        self._check_blanks(node)
        words: list[str | None] = []
        assigned = 0
        for child in node.children:
            if child.type == "variable_assignment":
                words.append(self._assignment(child))
                assigned += 1
            elif child.type == "command_name":
                words.append(self._word(child.children[0] if child.child_count else child))
                self._look(child)
            elif child.type in {"file_redirect", "herestring_redirect", "heredoc_redirect"}:
                self.visit(child)
            elif child.type in _WORDS:
                words.append(self._word(child))
                self._look(child)
            elif child.type == "$":
                words.append("$")
            else:
                raise CannotTell(f"it holds a construct that is not known here ({child.type})")
        name = words[assigned] if len(words) > assigned else None
        if name in _RESERVED:
            raise CannotTell(f"“{name}” stands where a command was expected")
        self._take(tuple(words), assigned, self._text(node), self._depth)

    def _take(self, words: Words, assigned: int, text: str, depth: int) -> None:
        """Note a simple command, or what it runs in its place."""
        if depth > MAX_DEPTH:
            raise CannotTell("it is nested too deeply")
        bare = words[assigned:]
        if not bare or bare[0] is None or bare[0].rsplit("/", 1)[-1] in _MOVES:
            self._reading.moves = True
        found = wrappers.unwrap(bare)
        if isinstance(found, wrappers.Inner):
            self._take(words[:assigned] + found.words, assigned + found.assigned, text, depth + 1)
            return
        if isinstance(found, wrappers.Code) and not assigned:
            _read_into(self._reading, found.text, depth + 1)
            return
        if isinstance(found, wrappers.Code):
            _read_into(self._reading, found.text, depth + 1)
        if isinstance(found, wrappers.Beside):
            for command in found.commands:
                self._take(command, 0, text, depth + 1)
        hides = isinstance(found, wrappers.Hidden)
        self._reading.moves = self._reading.moves or hides
        sets = _sets(bare)
        self._reading.evaluates = self._reading.evaluates or sets
        self._reading.parts.append(Part(words, text, assigned, wraps=hides, opaque=sets))

    def _loop(self, node: Node) -> None:
        name = next((self._text(child) for child in node.named_children if child.type == "variable_name"), "")
        if node.type == "c_style_for_statement" or _HARMLESS_LOOP_NAME.fullmatch(name) is None:
            self._expression(node)
        for child in node.named_children:
            if child.type in {"do_group", "compound_statement"}:
                self.visit(child)
            elif child.type != "variable_name":
                self._look(child)

    def _declaration(self, node: Node) -> None:
        words: list[str | None] = [node.children[0].type]
        for child in node.named_children:
            if child.type == "variable_assignment":
                words.append(self._assignment(child))
            else:
                words.append(self._text(child) if child.type in {"variable_name", "word"} else None)
                self._look(child)
        self._reading.evaluates = True
        self._reading.parts.append(Part(tuple(words), self._text(node), opaque=True))

    def _assignments(self, node: Node) -> None:
        single = node.type == "variable_assignment"
        words = tuple(self._assignment(child) for child in ([node] if single else node.named_children))
        self._reading.parts.append(Part(words, self._text(node), len(words), opaque=True))

    def _assignment(self, node: Node) -> str | None:
        """NAME=VALUE as one word; None where the value is not plain."""
        if node.type != "variable_assignment":
            raise CannotTell("an assignment is not understood")
        self._look(node)
        name, *rest = node.children
        if name.type != "variable_name":
            self._opaque(node)
            return None
        values = [child for child in rest if child.type not in {"=", "+="}]
        if any(child.type not in _WORDS for child in values) or len(values) > 1:
            return None
        value = self._word(values[0]) if values else ""
        operator = rest[0].type if rest else "="
        return None if value is None else f"{self._text(name)}{operator}{value}"

    def _redirect(self, node: Node) -> None:
        operator = ""
        targets: list[Node] = []
        for child in node.children:
            if child.type in _WORDS:
                targets.append(child)
            elif not child.is_named:
                operator = child.type
        if operator in {"<&-", ">&-"}:
            return
        if len(targets) != 1:
            raise CannotTell("a redirection is followed by further words")
        target = targets[0]
        self._look(target)
        path = self._word(target)
        if operator in {">&", "<&"} and path is not None and path.rstrip("-").isdigit():
            return
        if operator in {">&", "<&"} and _PLAIN_PATH.fullmatch(self._text(target)) is None:
            raise CannotTell("what a redirection opens is expanded twice")
        if path in _NOWHERE:
            return
        self._reading.touches.append(Touch(path, operator not in {"<", "<&"}, self._text(node)))

    def _heredoc(self, node: Node) -> None:
        """A here-document whose end the grammar and the shell certainly agree on."""
        start = next((child for child in node.named_children if child.type == "heredoc_start"), None)
        body = next((child for child in node.named_children if child.type == "heredoc_body"), None)
        end = next((child for child in node.named_children if child.type == "heredoc_end"), None)
        if start is None or end is None or _PLAIN_DELIMITER.fullmatch(self._text(start)) is None:
            raise CannotTell("a here-document is not understood")
        delimiter = self._text(start).strip("'\"")
        lines = [line.lstrip("\t") for line in (self._text(body) if body else "").split("\n")]
        if delimiter in lines or self._text(end).strip("\t") != delimiter or self._source.count(b"<<") > 1:
            raise CannotTell("a here-document is not understood")
        line = self._source.find(b"\n", start.end_byte)
        first = body if body is not None else end
        if line < 0 or self._source[line + 1 : first.start_byte].strip() or line >= first.start_byte:
            raise CannotTell("where a here-document begins cannot be told")
        follows = self._source[end.end_byte : end.end_byte + 1]
        if follows not in {b"", b"\n"}:
            raise CannotTell("a here-document is not understood")
        for child in node.named_children:
            if child is body or child.type == "heredoc_body":
                self._look(child)
            elif child.type in _WORDS:
                raise CannotTell("a here-document is followed by further words")
            elif child.type not in {"heredoc_start", "heredoc_end", "file_descriptor"}:
                self.visit(child)

    def _look(self, node: Node) -> None:
        """Find what a word, a value or an expression runs while it is expanded."""
        if node.type in {"command_substitution", "process_substitution"}:
            self.visit(node)
            return
        inside = {child.type for child in node.children} if node.type == "expansion" else set()
        if node.type in {"arithmetic_expansion", "subscript", "array"} or inside & _EVALUATING:
            self._expression(node)
        elif inside - _PLAIN_EXPANSION:
            self._opaque(node)
        for child in node.children:
            if child.type in {"command", "redirected_statement", "pipeline", "list"}:
                self.visit(child)
            else:
                self._look(child)

    def _word(self, node: Node) -> str | None:
        """What the shell makes of a word; None where only the shell knows."""
        text = self._text(node)
        kind = node.type
        if kind in {"word", "number"}:
            return unquoted(text)
        if kind == "raw_string":
            return text[1:-1]
        if kind == "string":
            plain = all(child.type in {'"', "string_content"} for child in node.children)
            return in_quotes(text[1:-1]) if plain else None
        if kind == "ansi_c_string":
            return None if "\\" in text else text[2:-1]
        if kind == "concatenation":
            if all(child.type == "word" for child in node.children):
                return unquoted(text)
            pieces = [self._word(child) for child in node.children]
            known = [piece for piece in pieces if piece is not None]
            return "".join(known) if len(known) == len(pieces) else None
        return None

    def _check_blanks(self, node: Node) -> None:
        """Between two words of a command there is a blank, and no end of a line."""
        before: Node | None = None
        for child in node.children:
            if before is not None:
                gap = self._source[before.end_byte : child.start_byte]
                either = {before.type, child.type}
                touching = not gap and either & {"file_redirect", "herestring_redirect", "heredoc_redirect"}
                if not touching and _SEPARATOR.fullmatch(gap) is None:
                    raise CannotTell("where one of its words ends cannot be told")
            before = child

    def _opaque(self, node: Node) -> None:
        self._reading.parts.append(Part((), self._text(node), opaque=True))

    def _expression(self, node: Node) -> None:
        """What the shell evaluates, and what it finds in variables with it."""
        self._reading.evaluates = True
        self._opaque(node)

    def _text(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode()


def _sets(words: Words) -> bool:
    """Does a command change what the shell does with those after it?"""
    if not words:
        return True
    if words[0] in {"test", "["}:  # which evaluate a name after these
        return any(word in {"-v", "-R", None} for word in words[1:])
    if words[0] == "printf" and len(words) > 1:
        return words[1] is None or words[1].startswith("-v")
    return words[0] in _SETTERS
