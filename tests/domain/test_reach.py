"""What commands may reach: the project's setting, and the rules about hosts over it."""

from __future__ import annotations

import pytest

from agentpane.domain.mcp import may_connect
from agentpane.domain.reach import reach
from agentpane.domain.rules import parse_all
from agentpane.domain.sandbox import EVERYWHERE, NO_NETWORK, Network, NetworkMode

LISTED = Network(NetworkMode.HOSTS, ("docs.example", "*.mirror.example", "127.0.0.1:8080", "localhost:9000"))
PORTS = {"127.0.0.1": 8080, "localhost": 9000}


def reached(setting: Network, rules: str, always: str = "") -> set[str]:
    """Those of some hosts that may be reached."""
    found = reach(setting, *(parse_all(filter(None, texts.split("; "))) for texts in (rules, always)))
    names = ("docs.example", "a.mirror.example", "b.mirror.example", "new.example", "127.0.0.1", "localhost")
    return {name for name in names if found.allows(name, PORTS.get(name, 443))}


ALL_LISTED = {"docs.example", "a.mirror.example", "b.mirror.example", "127.0.0.1", "localhost"}


@pytest.mark.parametrize(
    ("rules", "always", "expected"),
    [
        ("", "", ALL_LISTED),
        ("allow Network(new.example)", "", ALL_LISTED | {"new.example"}),
        ("", "allow Network(*.example)", ALL_LISTED | {"new.example"}),
        ("deny Network(docs.example)", "", ALL_LISTED - {"docs.example"}),
        ("deny Network(a.mirror.example)", "", ALL_LISTED - {"a.mirror.example"}),
        ("deny Network(*.mirror.example)", "", ALL_LISTED - {"a.mirror.example", "b.mirror.example"}),
        ("deny Network(127.0.0.1)", "", ALL_LISTED - {"127.0.0.1"}),
        ("allow Network(docs.example); deny Network(docs.example)", "", ALL_LISTED - {"docs.example"}),
        ("deny Network(docs.example)", "allow Network(docs.example)", ALL_LISTED - {"docs.example"}),
        ("ask Network(docs.example); allow Network(docs.example)", "", ALL_LISTED - {"docs.example"}),
        ("ask Network(docs.example)", "allow Network(docs.example)", ALL_LISTED),
        ("allow Network", "allow Network(*)", ALL_LISTED),
        ("deny Network", "", set()),
        ("allow Bash(curl:*); deny Write(docs.example)", "", ALL_LISTED),
    ],
)
def test_rules_add_and_take_away_hosts_and_deny_wins(rules: str, always: str, expected: set[str]) -> None:
    assert reached(LISTED, rules, always) == expected


def test_no_network_stays_none_and_everything_loses_what_is_denied() -> None:
    rules = parse_all(["deny Network(evil.example)", "allow Network(new.example)"])
    assert reach(NO_NETWORK, rules) == NO_NETWORK
    assert reach(EVERYWHERE, rules[1:]) == EVERYWHERE
    some = reach(EVERYWHERE, rules)
    assert some.allows("docs.example", 443) and not some.allows("evil.example", 443)
    assert not some.names("docs.example", 443)  # nothing private is reached by "everything"
    assert reach(EVERYWHERE, parse_all(["deny Network"])) == NO_NETWORK


def test_what_is_refused_is_refused_in_every_way_of_reaching_it() -> None:
    network = reach(LISTED, parse_all(["deny Network(localhost)", "deny Network(docs.example)"]))
    assert network.loopback() == (("127.0.0.1", 8080),)
    assert not may_connect("https://DOCS.example/mcp", network) and may_connect("https://a.mirror.example/", network)
