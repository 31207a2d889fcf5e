"""Rules about tool calls: one line of text each, read, written and held against a call.

    allow Bash(git status:*)     ask Write(migrations/**)     deny Network(*.example.com)     allow mcp__notes__*

A rule is an effect, a tool and, in brackets, a pattern; without one it speaks of every use of the tool.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from agentpane.domain.limits import invalid
from agentpane.domain.shell import Match, Part, Touch, covers, forbids
from agentpane.errors import AgentPaneError

MOST_RULES = 500
MOST_CHARACTERS = 2_000

WRITERS = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})  # one family: a rule for one is for all
READERS = frozenset({"Read"})
WITH_PATTERN = WRITERS | READERS | {"Bash", "Network", "Glob", "Grep"}

_LINE = re.compile(r"(allow|ask|deny)\s+([^\s()]+)\s*(?:\((.*)\))?", re.DOTALL)
_TOOL = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*|mcp__[A-Za-z0-9_.\-*]+")
_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""")
_OPERATORS = re.compile(r"[;|&<>()`$]")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*|\*|\[[0-9A-Fa-f:.]+\]")


class RuleEffect(StrEnum):
    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """text: as it is kept and shown. words, exact: of a pattern for Bash. pattern: of any other, None for every use."""

    effect: RuleEffect
    tool: str
    text: str
    pattern: str | None = None
    words: tuple[str, ...] = ()
    exact: bool = False

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Rule:
    """Raises AgentPaneError with VALIDATION_ERROR that names the rule and says what is wrong with it."""
    line = text.strip()
    if not line or len(line) > MOST_CHARACTERS or any(not character.isprintable() for character in line):
        raise _wrong(line[:80], "a rule is one line of at most 2,000 printable characters")
    found = _LINE.fullmatch(line)
    if found is None:
        raise _wrong(line, "it must read “allow”, “ask” or “deny”, a tool and, in brackets, a pattern")
    effect, tool, pattern = RuleEffect(found[1]), found[2], found[3]
    if _TOOL.fullmatch(tool) is None:
        raise _wrong(line, f"“{tool}” is no name of a tool; only tools of MCP servers may hold a *")
    if pattern is None:
        return Rule(effect, tool, f"{effect} {tool}")
    if tool not in WITH_PATTERN:
        raise _wrong(line, f"{tool} takes no pattern")
    if not pattern.strip():
        raise _wrong(line, "the brackets are empty; leave them out to speak of every use")
    if tool == "Bash":
        return _bash(effect, pattern.strip(), line)
    if tool == "Network" and _HOST.fullmatch(pattern) is None:
        raise _wrong(line, "a host is a name, *. and a name, or *")
    if tool != "Network" and ".." in pattern.split("/"):
        raise _wrong(line, "a path in a rule may not hold “..”")
    return Rule(effect, tool, f"{effect} {tool}({pattern})", pattern.removeprefix("./"))


def parse_all(texts: Iterable[str]) -> tuple[Rule, ...]:
    rules = tuple(parse(text) for text in texts)
    if len(rules) > MOST_RULES:
        raise invalid("rules", f"There are {len(rules)} rules; {MOST_RULES} are the most.")
    return rules


def readable(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Those that can be read; what cannot be read allows nothing."""
    found: list[Rule] = []
    for text in texts:
        try:
            found.append(parse(text))
        except AgentPaneError:
            continue
    return tuple(found)


def allow_command(words: tuple[str, ...], exact: bool) -> str:
    """The rule that allows a command of exactly these words, or any that begins with them."""
    return f"allow Bash({shlex.join(words)}{'' if exact else ':*'})"


def on_part(rule: Rule, part: Part) -> Match:
    """Does a rule for Bash speak of this command?"""
    if rule.tool != "Bash":
        return Match.NO
    if not rule.words:
        return Match.YES
    if rule.effect is RuleEffect.ALLOW:
        return Match.YES if covers(rule.words, rule.exact, part) else Match.NO
    return forbids(rule.words, part)


def on_words(rule: Rule, part: Part) -> Match:
    """Does a rule that keeps files back speak of one that a command names? Read loosely: what a command does with a
    file that it names is known to nobody, and an absolute path may lead into the worktree."""
    if rule.effect is RuleEffect.ALLOW or rule.pattern is None or rule.tool not in READERS | WRITERS:
        return Match.NO
    found = Match.NO
    for word in part.words[part.assigned :]:
        if word is None:
            if _literal(rule.pattern) in part.text:
                found = Match.MAYBE
            continue
        for path in {word, word.rpartition("=")[2]}:
            match = _named(rule, path)
            if match is Match.YES:
                return Match.MAYBE if rule.tool in WRITERS else Match.YES
            found = Match.MAYBE if match is Match.MAYBE else found
    return found


def _named(rule: Rule, word: str) -> Match:
    assert rule.pattern is not None
    path = normal(word)
    if not path or path in {"/", ".."}:
        return Match.NO
    if _path(rule, path) is Match.YES:
        return Match.YES
    parts = path.strip("/").split("/")
    tails = ("/".join(parts[at:]) for at in range(1, len(parts))) if path.startswith(("/", "../")) else ()
    if any(_path(rule, tail) is Match.YES for tail in tails):
        return Match.MAYBE
    holds = normal(rule.pattern).startswith(f"{path}/")  # a folder in which such a file lies
    return Match.MAYBE if holds else Match.NO


def _literal(pattern: str) -> str:
    """The longest piece of a pattern that stands for itself."""
    return max(re.split(r"[*?/]", pattern), key=len)


def on_unread(rule: Rule) -> Match:
    """Does a rule speak of a command that could not be taken apart?"""
    if rule.tool == "Bash":
        return _certain(rule, rule.words == ())
    return _certain(rule, False) if rule.tool in WRITERS and rule.effect is not RuleEffect.ALLOW else Match.NO


def on_touch(rule: Rule, touch: Touch) -> Match:
    """Does a rule about files speak of what a redirection opens?"""
    if rule.tool not in (WRITERS if touch.write else READERS):
        return Match.NO
    if rule.pattern is None:
        return Match.YES
    if touch.path is None:
        return _certain(rule, False)
    return _path(rule, normal(touch.path))


def on_path(rule: Rule, tool: str, path: str | None, writes: bool) -> Match:
    """Does a rule speak of this tool's use of this path? Grep reads, too, where a rule denies or asks."""
    family = WRITERS if writes else READERS
    if rule.tool != tool:
        if rule.tool not in family or tool == "Glob" or (tool == "Grep" and rule.effect is RuleEffect.ALLOW):
            return Match.NO
        if tool == "Grep":
            path = path or "."
    if rule.pattern is None:
        return Match.YES
    return _certain(rule, False) if path is None else _path(rule, normal(path))


def left_out(rules: Iterable[Rule], path: str, searched: str) -> bool:
    """Do rules keep a file out of what a search shows? Both paths are relative to the worktree.

    A rule that asks keeps nothing back where it speaks of the searched path itself: about that has been asked.
    """
    for rule in rules:
        if rule.effect is RuleEffect.ALLOW or rule.tool not in READERS | {"Grep"}:
            continue
        asked = rule.effect is RuleEffect.ASK and on_path(rule, "Grep", searched, False) is not Match.NO
        if not asked and on_path(rule, "Grep", path, False) is not Match.NO:
            return True
    return False


def on_host(rule: Rule, tool: str, host: str | None) -> Match:
    if rule.tool == tool:
        return Match.YES
    if rule.tool != "Network":
        return Match.NO
    if rule.pattern is None or rule.pattern == "*":
        return Match.YES
    if host is None:
        return _certain(rule, False)
    return Match.YES if _host_matches(rule.pattern, host) else Match.NO


def on_tool(rule: Rule, tool: str) -> Match:
    """Does a rule without a pattern speak of this tool?"""
    if "*" in rule.tool:
        return Match.YES if _glob(rule.tool.replace("*", "**")).fullmatch(tool) else Match.NO
    return Match.YES if rule.tool == tool else Match.NO


def normal(path: str) -> str:
    """A path without `.`, empty parts and, as far as they can be resolved, `..`; links are not looked at."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def _bash(effect: RuleEffect, pattern: str, line: str) -> Rule:
    exact = True
    for suffix in (":*", " *"):
        if pattern.endswith(suffix):
            pattern, exact = pattern.removesuffix(suffix).rstrip(), False
            break
    try:
        words = tuple(shlex.split(pattern))
    except ValueError as error:
        raise _wrong(line, "a quote in it is not closed") from error
    if not words or words == ("*",):
        raise _wrong(line, "it names no command; write Bash without brackets to speak of every command")
    if _OPERATORS.search(_QUOTED.sub("", pattern)):
        raise _wrong(line, "it speaks of one command; quote each of ; | & < > ( ) ` $ that is part of a word")
    return Rule(effect, "Bash", f"{effect} Bash({shlex.join(words)}{'' if exact else ':*'})", pattern, words, exact)


def _path(rule: Rule, path: str) -> Match:
    assert rule.pattern is not None
    if path == ".." or path.startswith("../"):
        return _certain(rule, False)
    pattern = normal(rule.pattern)
    if rule.effect is RuleEffect.ALLOW and path.startswith("/") and not pattern.startswith("/"):
        return Match.NO  # what is meant lies in the worktree
    if _glob(pattern).fullmatch(path):
        return Match.YES
    below = rule.effect is not RuleEffect.ALLOW and _glob(pattern + "/**").fullmatch(path)
    return Match.YES if below else Match.NO


def _certain(rule: Rule, sure: bool) -> Match:
    """An allowing rule counts only when it is sure; another may be meant."""
    if sure:
        return Match.YES
    return Match.NO if rule.effect is RuleEffect.ALLOW else Match.MAYBE


@cache
def _glob(pattern: str) -> re.Pattern[str]:
    """`**` is any number of folders, `*` and `?` stay within one; every other character stands for itself."""
    out = ""
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(pattern[at], re.escape(pattern[at]))
            at += 1
    return re.compile(out, re.DOTALL)


def _host_matches(pattern: str, host: str) -> bool:
    wanted, named = pattern.casefold(), host.casefold().rstrip(".")
    if wanted.startswith("*."):
        return named.endswith(wanted[1:])
    return named == wanted


def _wrong(line: str, why: str) -> AgentPaneError:
    return invalid("rules", f"The rule “{line}” cannot be read: {why}.", "docs/policy.md shows how rules are written.")
