"""What rules and presets decide about calls that are no commands, and how rules are read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpane.domain.offers import offered
from agentpane.domain.policy import (
    Effect,
    Grants,
    Judgement,
    Policy,
    Use,
    effect_of,
    judge,
    unattended,
    while_planning,
)
from agentpane.domain.projects import DEFAULT_TOOLS
from agentpane.domain.rules import allow_command, parse, parse_all
from agentpane.domain.sandbox import Tier
from agentpane.errors import AgentPaneError, ErrorCode

ALLOW, ASK, DENY = Judgement.ALLOW, Judgement.ASK, Judgement.DENY
TOOLS = (*DEFAULT_TOOLS, "MultiEdit", "mcp__notes__add", "mcp__notes__read")


def grants(*rules: str, policy: Policy = Policy.BALANCED, tier: Tier = Tier.BUBBLEWRAP, **more: object) -> Grants:
    return Grants(TOOLS, policy, tier, parse_all(rules), **more)  # type: ignore[arg-type]


def write(path: str, tool: str = "Write") -> Use:
    return Use(tool, Effect.WRITE, path=path)


def read(path: str) -> Use:
    return Use("Read", Effect.READ, path=path)


def grep(path: str | None) -> Use:
    return Use("Grep", Effect.READ, path=path)


def fetch(host: str) -> Use:
    return Use("WebFetch", Effect.FETCH, host=host)


@pytest.mark.parametrize(
    ("use", "rules", "policy", "expected"),
    [
        (write("a.py"), (), Policy.BALANCED, ALLOW),
        (write("a.py"), (), Policy.CAREFUL, ASK),
        (write("a.py"), (), Policy.READ_ONLY, DENY),
        (write("/etc/passwd"), (), Policy.BALANCED, ASK),
        (write("../b.py"), (), Policy.FREE, ASK),
        (write("a.py"), ("allow Write(**)",), Policy.CAREFUL, ALLOW),
        (write("a.py"), ("allow Write(src/**)",), Policy.CAREFUL, ASK),
        (write("src/x/a.py"), ("allow Write(src/**)",), Policy.CAREFUL, ALLOW),
        (write("src/../a.py"), ("allow Write(src/**)",), Policy.CAREFUL, ASK),
        (write("/etc/a.py"), ("allow Write(**)", "allow Write(**/a.py)"), Policy.CAREFUL, ASK),
        (write("/etc/a.py"), ("allow Write(/etc/**)",), Policy.CAREFUL, ALLOW),
        (write("/etc/a.py"), ("deny Write(**/a.py)",), Policy.FREE, DENY),
        (write("../src/a.py"), ("allow Write(**/a.py)",), Policy.CAREFUL, ASK),
        (write("src/a.py", "Edit"), ("allow Write(src/*.py)",), Policy.CAREFUL, ALLOW),
        (write("src/x/a.py"), ("allow Write(src/*.py)",), Policy.CAREFUL, ASK),
        (write("keys/id", "MultiEdit"), ("deny Edit(keys)",), Policy.FREE, DENY),
        (write("keys/id"), ("deny Write(keys/**)", "allow Write"), Policy.FREE, DENY),
        (write("src/./keys/../keys/id"), ("deny Write(src/keys/**)",), Policy.FREE, DENY),
        (write("a.lock"), ("ask Write(**/*.lock)", "allow Write"), Policy.FREE, ASK),
        (write("app/[id].tsx"), ("allow Write(app/[id].tsx)",), Policy.CAREFUL, ALLOW),
        (write("app/i.tsx"), ("allow Write(app/[id].tsx)",), Policy.CAREFUL, ASK),
        (read(".env"), ("deny Read(.env)",), Policy.FREE, DENY),
        (read("sub/.env"), ("deny Read(**/.env)",), Policy.FREE, DENY),
        (read("a.py"), (), Policy.READ_ONLY, ALLOW),
        (grep(".env"), ("deny Read(**/.env)",), Policy.FREE, DENY),
        (grep("keys/old"), ("deny Read(keys)",), Policy.FREE, DENY),
        (grep("a/.env"), ("ask Read(**/.env)",), Policy.FREE, ASK),
        (grep("."), ("deny Read(**/.env)",), Policy.FREE, ALLOW),
        (grep(None), ("deny Read(**/.env)",), Policy.FREE, ALLOW),
        (grep(None), ("deny Read",), Policy.FREE, DENY),
        (Use("Glob", Effect.READ, path="keys"), ("deny Read(keys)",), Policy.FREE, ALLOW),
        (fetch("docs.python.org"), (), Policy.BALANCED, ASK),
        (fetch("docs.python.org"), ("allow Network(*.python.org)",), Policy.BALANCED, ALLOW),
        (fetch("DOCS.python.org."), ("deny Network(docs.python.org)",), Policy.FREE, DENY),
        (fetch("evilpython.org"), ("allow Network(*.python.org)",), Policy.BALANCED, ASK),
        (fetch("python.org.evil.com"), ("allow Network(*.python.org)",), Policy.BALANCED, ASK),
        (Use("mcp__notes__add", Effect.OTHER), (), Policy.BALANCED, ASK),
        (Use("mcp__notes__add", Effect.OTHER), (), Policy.FREE, ALLOW),
        (Use("mcp__notes__add", Effect.OTHER), ("allow mcp__notes__*",), Policy.CAREFUL, ALLOW),
        (Use("mcp__notes__add", Effect.OTHER), ("allow mcp__note",), Policy.CAREFUL, ASK),
        (Use("mcp__notes__add", Effect.OTHER), ("deny mcp__*__add",), Policy.FREE, DENY),
        (Use("Teleport", Effect.OTHER), ("allow Teleport",), Policy.FREE, DENY),
    ],
)
def test_rules_come_before_the_preset_and_the_strictest_first(
    use: Use, rules: tuple[str, ...], policy: Policy, expected: Judgement
) -> None:
    outside = (use.path or "").startswith(("/", ".."))  # which only programs of their own reach
    found = judge(use, grants(*rules, policy=policy, foreign=outside or use.tool == "WebFetch"))
    assert found.judgement is expected, found.rule


def test_nobody_is_asked_about_what_the_tool_itself_refuses() -> None:
    for policy in (Policy.CAREFUL, Policy.BALANCED):
        assert judge(write("/etc/passwd"), grants(policy=policy)).judgement is ALLOW
        assert judge(write("/etc/passwd"), grants(policy=policy, foreign=True)).judgement is ASK
    assert judge(write("/etc/passwd"), grants("deny Write(/etc/**)")).judgement is DENY


def test_the_verdict_names_the_rule_that_decided() -> None:
    rules = ("allow Write", "ask Write(docs/**)", "deny Write(docs/keys/**)")
    assert judge(write("docs/keys/a"), grants(*rules)).rule == "rule: deny Write(docs/keys/**)"
    assert judge(write("docs/a"), grants(*rules)).rule == "rule: ask Write(docs/**)"
    assert judge(write("a"), grants(*rules)).rule == "rule: allow Write"
    assert judge(write("a"), grants()).rule == "policy: balanced"


def test_what_was_allowed_for_good_comes_after_a_denial_and_before_a_rule_that_asks() -> None:
    always = {"always": parse_all(["allow Write(src/**)"])}
    assert judge(write("src/a"), grants("ask Write", policy=Policy.CAREFUL, **always)).judgement is ALLOW
    assert judge(write("src/a"), grants("deny Write(src/a)", policy=Policy.FREE, **always)).judgement is DENY
    assert judge(write("src/a"), grants(policy=Policy.READ_ONLY, **always)).judgement is DENY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "permit Bash(ls)",
        "allow",
        "allow Bash(",
        "allow Bash()",
        "allow Bash(:*)",
        "allow Bash(ls; rm)",
        "allow Bash(ls | wc)",
        "allow Bash(a && b)",
        "allow Bash(echo 'x)",
        "allow Bash(ls)\nallow Bash(rm)",
        "allow B*sh(ls)",
        "allow Write(../x)",
        "allow Network(*evil.com)",
        "allow Network(a b)",
        "allow mcp__a__b(x)",
        "allow TodoWrite(x)",
        "allow Bash(" + "x" * 3_000 + ")",
        "allow Bash(ls) or so",
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_by_name(text: str) -> None:
    with pytest.raises(AgentPaneError) as caught:
        parse(text)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert text.split("\n")[0][:60].strip() in caught.value.message


@given(st.lists(st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1), min_size=1, max_size=5))
def test_a_rule_for_a_command_reads_back_as_the_words_it_was_made_of(words: list[str]) -> None:
    for exact in (True, False):
        rule = parse(allow_command(tuple(words), exact))
        assert (rule.words, rule.exact) == (tuple(words), exact)
        assert parse(rule.text) == rule


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (write("src/a.py"), ("allow Write(src/**)",)),
        (write("a.py", "Edit"), ("allow Write(a.py)",)),
        (write("src/what?.py"), ()),
        (Use("mcp__notes__add", Effect.OTHER), ("allow mcp__notes__add",)),
        (fetch("docs.python.org"), ("allow Network(docs.python.org)",)),
        (Use("Teleport", Effect.OTHER), ()),
    ],
)
def test_always_offers_a_rule_that_would_let_the_same_call_pass(use: Use, expected: tuple[str, ...]) -> None:
    assert offered(use, None, Tier.BUBBLEWRAP) == expected
    if expected:
        given_always = grants(policy=Policy.CAREFUL, always=parse_all(expected), foreign=use.tool == "WebFetch")
        assert judge(use, given_always).judgement is ALLOW


def test_while_planning_an_agent_may_only_look() -> None:
    free = grants(policy=Policy.FREE)
    for use, expected in [
        (read("a.py"), ALLOW),
        (write("a.py"), DENY),
        (Use("Bash", Effect.EXECUTE, command="ls"), DENY),
        (Use("mcp__notes__read", Effect.OTHER), DENY),
        (Use("Task", Effect.READ), DENY),
    ]:
        assert while_planning(use, judge(use, free)).judgement is expected


@pytest.mark.parametrize(
    ("policy", "tier", "asks", "expected"),
    [
        (Policy.FREE, Tier.BUBBLEWRAP, True, False),
        (Policy.FREE, Tier.LANDLOCK, True, True),
        (Policy.FREE, Tier.NONE, True, True),
        (Policy.BALANCED, Tier.NONE, True, False),
        (Policy.BALANCED, Tier.NONE, False, True),
        (Policy.READ_ONLY, Tier.NONE, True, False),
        (Policy.READ_ONLY, Tier.LANDLOCK, False, True),
        (Policy.CAREFUL, Tier.LANDLOCK, False, True),
    ],
)
def test_a_run_whose_commands_nobody_is_asked_about_is_unattended(
    policy: Policy, tier: Tier, asks: bool, expected: bool
) -> None:
    assert unattended(policy, tier, asks) is expected


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize("tool", ["TodoWrite", "AskUser", "BashOutput", "KillShell", "Task"])
def test_no_rule_about_files_speaks_of_a_tool_that_opens_none(tool: str, policy: Policy) -> None:
    rules = ("deny Read(secrets/**)", "ask Write(**/*.sql)", "deny Grep(secrets)")
    held = Grants((tool,), policy, Tier.BUBBLEWRAP, parse_all(rules))
    assert judge(Use(tool, effect_of(tool)), held).judgement is ALLOW
    assert judge(Use(tool, effect_of(tool)), replace(held, rules=parse_all((f"deny {tool}",)))).judgement is DENY
