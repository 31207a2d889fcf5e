"""An agent as a Markdown file: what its front matter may say. The text below it is what the agent is told.

Unknown keys are refused rather than passed over: a mistyped `tools` would give an agent every tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from agentpane.domain.acp_presets import PRESETS
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.budgets import Budget
from agentpane.domain.configs import check_agent_config
from agentpane.domain.limits import AGENT_NAME, beginning, check_line, check_text, invalid
from agentpane.domain.placeholder import check_prompt
from agentpane.domain.policy import Policy
from agentpane.domain.runs import AgentType

E = TypeVar("E", bound=StrEnum)
D = TypeVar("D")

FOLDER = ".agentpane/agents"
MOST_FILES = 50
PROMPT_LIMIT = 50_000  # characters
MOST_OF_A_PROMPT = 500  # characters that somebody is shown who is asked to trust it

_ABOUT = {"name", "description", "backend", "type", "model", "command", "preset"}
_MAY = {"tools", "policy", "rules", "plan", "max_turns", "budget"}
KEYS = frozenset(_ABOUT | _MAY)


@dataclass(frozen=True, slots=True)
class AgentFile:
    """path: as it is shown, relative to the repository for one of its files, absolute for one of the person's."""

    path: str
    name: str
    backend: BackendName
    type: AgentType
    config: AgentConfig

    def about(self) -> str:
        """What somebody who is asked to trust it has to know, in one line."""
        config = self.config
        parts = [f"backend {self.backend}"]
        for name, value in (
            ("command", config.command),
            ("preset", config.preset),
            ("tools", ", ".join(config.allowed_tools or ())),
            ("policy", config.policy),
            ("rules", "; ".join(config.rules)),
            ("type", "" if self.type is AgentType.TASK else self.type),
            ("model", config.model),
            ("turns", config.max_turns),
            ("budget", _amounts(config.budget)),
            ("plan first", "yes" if config.plan else ""),
            ("told", beginning(config.system_prompt, MOST_OF_A_PROMPT) if config.system_prompt else ""),
        ):
            if value:
                parts.append(f"{name}: {value}")
        return f"agent {self.name} ({self.path}): {', '.join(parts)}"


def check(path: str, front: Mapping[object, object], body: str) -> AgentFile:
    """The agent that a file describes. front: its front matter as plain values.

    Raises AgentPaneError with VALIDATION_ERROR naming the field.
    """
    for key in front:
        if key not in KEYS:
            raise invalid(str(key), f"“{key}” is no key of an agent's file.")
    backend = _one_of(front, "backend", BackendName, BackendName.ANTHROPIC)
    if backend is BackendName.RECORDED:
        raise invalid("backend", "Recorded replies exist for the sample project only.")
    name = _words(front, "name")
    if name is None:
        raise invalid("name", "The agent has no name.")
    policy = _one_of(front, "policy", Policy, None)
    prompt = check_text("prompt", body, PROMPT_LIMIT, least=0)
    config = AgentConfig(
        model=_words(front, "model"),
        allowed_tools=_list(front, "tools"),
        max_turns=_number(front, "max_turns"),
        system_prompt=prompt or None,
        command=_words(front, "command"),
        preset=_words(front, "preset"),
        plan=_flag(front, "plan"),
        policy=policy.value if policy else None,
        rules=_list(front, "rules") or (),
        budget=_budget(front),
    )
    _check_program(backend, config)
    kind = _one_of(front, "type", AgentType, AgentType.TASK)
    return AgentFile(path, check_line("name", name, AGENT_NAME), backend, kind, check_agent_config(config))


def _amounts(budget: Budget) -> str:
    usd = [] if budget.usd is None else [f"${budget.usd:,.2f}"]
    return " and ".join([*usd, *([] if budget.tokens is None else [f"{budget.tokens:,} tokens"])])


def _check_program(backend: BackendName, config: AgentConfig) -> None:
    """Raises AgentPaneError with VALIDATION_ERROR if the backend lacks its program, or has one that it cannot use."""
    if config.preset is not None and config.preset not in PRESETS:
        raise invalid("preset", f"“{config.preset}” is no preset; there are {', '.join(PRESETS)}.")
    if config.preset is not None and backend is not BackendName.ACP:
        raise invalid("preset", "A preset is for the backend acp.")
    if config.command is not None and backend not in {BackendName.ACP, BackendName.COMMAND}:
        raise invalid("command", "A command is for the backends command and acp.")
    if backend is BackendName.COMMAND and config.command is None:
        raise invalid("command", "The backend command needs a command.")
    if backend is BackendName.COMMAND:
        check_prompt(config.command or "")
    if backend is BackendName.ACP and (config.command is None) == (config.preset is None):
        raise invalid("preset", "The backend acp needs either a preset or a command.")


def _words(front: Mapping[object, object], key: str) -> str | None:
    value = front.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise invalid(key, f"“{key}” must be text.")
    return value.strip()


def _list(front: Mapping[object, object], key: str) -> tuple[str, ...] | None:
    """A list of strings, or one string with commas."""
    value = front.get(key)
    if value is None:
        return None
    if isinstance(value, str) and key == "tools":
        value = [part for part in (part.strip() for part in value.split(",")) if part]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise invalid(key, f"“{key}” must be a list of strings.")
    return tuple(value)


def _number(front: Mapping[object, object], key: str) -> int | None:
    value = front.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise invalid(key, f"“{key}” must be a whole number.")
    return value


def _flag(front: Mapping[object, object], key: str) -> bool:
    value = front.get(key, False)
    if not isinstance(value, bool):
        raise invalid(key, f"“{key}” must be true or false.")
    return value


def _budget(front: Mapping[object, object]) -> Budget:
    value = front.get("budget")
    if value is None:
        return Budget()
    if not isinstance(value, Mapping) or not set(value) <= {"usd", "tokens"}:
        raise invalid("budget", "“budget” has the keys usd and tokens.")
    usd, tokens = value.get("usd"), _number(value, "tokens")
    if usd is not None and (isinstance(usd, bool) or not isinstance(usd, int | float)):
        raise invalid("budget", "“usd” must be a number.")
    return Budget(None if usd is None else float(usd), tokens)


def _one_of(front: Mapping[object, object], key: str, kind: type[E], default: D) -> E | D:
    value = front.get(key)
    if value is None:
        return default
    try:
        return kind(str(value))
    except ValueError as error:
        raise invalid(key, f"“{key}” is one of {', '.join(kind)}.") from error
