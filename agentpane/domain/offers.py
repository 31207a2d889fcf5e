"""What "always" would allow: rules as narrow as they can be and still be of use, never one for a dangerous prefix."""

from __future__ import annotations

from collections.abc import Mapping

from agentpane.domain.policy import MCP_PREFIX, Effect, Use
from agentpane.domain.rules import MOST_CHARACTERS, allow_command, normal
from agentpane.domain.sandbox import Tier
from agentpane.domain.shell import Part, Script, leading_assignments


def _named(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Programs that only look, whatever their arguments: none that runs, writes or evaluates what an argument says.
_LOOKING = _named(
    "ls cat head tail wc pwd echo true false stat du df diff cmp basename dirname realpath which type uname id whoami "
    "nproc grep egrep fgrep cut tr"
)
# Programs that run the project's own code or configuration, which the agent may write: arguments open nothing more.
_CHECKING = _named("pytest mypy flake8 eslint prettier jest vitest phpunit rspec")
_WHOLE = _LOOKING | _CHECKING
# Programs whose second word says what they do; each with the words for which the same holds.
_SECOND: Mapping[str, frozenset[str]] = {
    "git": _named("status blame ls-files ls-tree rev-parse describe add"),
    "npm": _named("test ls outdated run"),
    "pnpm": _named("test ls run"),
    "yarn": _named("test run"),
    "cargo": _named("build check test clippy fmt doc bench"),
    "go": _named("build test vet fmt list mod"),
    "make": _named("test check lint build all clean fmt format"),
    "dotnet": _named("build test format restore"),
    "mvn": _named("test verify compile package"),
    "gradle": _named("test build check"),
    "pip": _named("list show freeze check"),
    "docker": _named("ps images logs"),
    "gh": _named("status"),
}
_THIRD = frozenset({("npm", "run"), ("pnpm", "run"), ("yarn", "run"), ("go", "mod")})


def offered(use: Use, script: Script | None, tier: Tier) -> tuple[str, ...]:
    """The rules that would let this very call pass; none where no rule can.

    Without a sandbox a command reads whatever its person may read, so there only the exact command is offered.
    """
    if use.effect is Effect.EXECUTE:
        return _for_script(script, tier is Tier.NONE) if script is not None else ()
    if use.effect in {Effect.READ, Effect.WRITE}:
        tool = "Write" if use.effect is Effect.WRITE else "Read"
        return _for_path(tool, use.path) if use.path else ()
    if use.effect is Effect.FETCH and use.host:
        return (f"allow Network({use.host})",)
    return (f"allow {use.tool}",) if use.tool.startswith(MCP_PREFIX) and "*" not in use.tool else ()


def _for_script(script: Script, exactly: bool) -> tuple[str, ...]:
    """One rule for each part, or none at all: with one missing the command would be asked about again."""
    if script.problem is not None or not script.parts:
        return ()
    found: list[str] = []
    for part in script.parts:
        rule = _for_part(part, exactly)
        if rule is None:
            return ()
        found.append(rule)
    for touch in script.touches:
        if touch.only_reads and not exactly:
            continue
        rules = _for_path("Write", touch.path, exactly=True) if touch.write and touch.path else ()
        if not rules:
            return ()
        found += rules
    return tuple(dict.fromkeys(found))


def _for_part(part: Part, exactly: bool) -> str | None:
    if part.opaque or not part.words:
        return None
    prefix = None if exactly else _prefix(part)
    known = tuple(word for word in part.words if word is not None)
    if prefix is None and len(known) != len(part.words):
        return None
    if any(not word.isprintable() for word in (prefix or known)):
        return None
    if prefix is None and leading_assignments(known) != part.assigned:
        return None
    rule = allow_command(prefix or known, exact=prefix is None)
    return rule if len(rule) <= MOST_CHARACTERS else None


def _prefix(part: Part) -> tuple[str, ...] | None:
    """The words that a rule for every use may begin with; None where only the exact command may be allowed."""
    if part.assigned or part.wraps:
        return None
    words = part.words
    first = words[0]
    if first is None:
        return None
    if first in _WHOLE:
        return (first,)
    second = words[1] if len(words) > 1 else None
    if second is None or second not in _SECOND.get(first, frozenset()):
        return None
    if (first, second) in _THIRD:
        third = words[2] if len(words) > 2 else None
        return None if third is None or third.startswith("-") else (first, second, third)
    return first, second


def _for_path(tool: str, path: str | None, exactly: bool = False) -> tuple[str, ...]:
    """The folder of a file of the worktree; the file itself at the top, outside, or when it is wanted exactly."""
    if not path or any(not each.isprintable() or each in "*?" for each in path) or ".." in path.split("/"):
        return ()
    plain = normal(path)
    folder, _, _ = plain.rpartition("/")
    pattern = plain if exactly or not folder or plain.startswith("/") else f"{folder}/**"
    return (f"allow {tool}({pattern})",) if pattern else ()
