"""What commands may reach: the network setting of the project, under the rules about hosts.

Nobody is asked while a command runs, so a host that a rule asks about is refused to it, as one that a rule denies.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentpane.domain.rules import Rule, RuleEffect
from agentpane.domain.sandbox import NO_NETWORK, Network, NetworkMode

EVERY = "*"


def reach(setting: Network, rules: Iterable[Rule], always: Iterable[Rule] = ()) -> Network:
    """rules: the project's and the agent's. always: what the person has allowed for good, which goes before "ask".

    Hosts that rules allow are added where hosts are listed; a rule for every host adds none. Where everything may be
    reached and a rule refuses a host, the rest is reached through the proxy, which alone can tell hosts apart.
    """
    about_hosts = tuple(rule for rule in rules if rule.tool == "Network")
    for_good = _patterns((rule for rule in always if rule.tool == "Network"), RuleEffect.ALLOW)
    asked = (pattern for pattern in _patterns(about_hosts, RuleEffect.ASK) if pattern not in for_good)
    refused = tuple(dict.fromkeys((*_patterns(about_hosts, RuleEffect.DENY), *asked)))
    if setting.mode is NetworkMode.NONE or EVERY in refused:
        return NO_NETWORK
    if setting.mode is NetworkMode.ALL:
        return Network(NetworkMode.HOSTS, (EVERY,), refused) if refused else setting
    added = (one for one in (*_patterns(about_hosts, RuleEffect.ALLOW), *for_good) if one != EVERY)
    return Network(NetworkMode.HOSTS, tuple(dict.fromkeys((*setting.hosts, *added))), refused)


def _patterns(rules: Iterable[Rule], effect: RuleEffect) -> tuple[str, ...]:
    return tuple(rule.pattern or EVERY for rule in rules if rule.effect is effect)
