"""What a configuration of a project or an agent may say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from agentpane.domain.agents import AgentConfig
from agentpane.domain.budgets import check_budget
from agentpane.domain.checks import check_checks
from agentpane.domain.limits import check_line, invalid
from agentpane.domain.mcp import is_tool_name
from agentpane.domain.policy import Policy
from agentpane.domain.pool import check_pool_size
from agentpane.domain.projects import DEFAULT_TOOLS, ProjectConfig
from agentpane.domain.rules import parse_all


def check_config(config: ProjectConfig) -> ProjectConfig:
    """Raises AgentPaneError with VALIDATION_ERROR naming the field."""
    if config.policy not in set(Policy):
        raise invalid("policy", f"“{config.policy}” is no policy.")
    if config.max_turns is not None and not 1 <= config.max_turns <= 1_000:
        raise invalid("max_turns", "The turn limit must be from 1 to 1,000.")
    check_pool_size(config.pool_size)
    if not config.worktree_root.strip():
        raise invalid("worktree_root", "The folder for worktrees is empty.")
    _check_tools(config.allowed_tools)
    for field in ("run_budget", "task_budget", "project_budget"):
        check_budget(field, getattr(config, field))
    for name in config.filters:
        if not name or any(char.isspace() or not char.isprintable() for char in name):
            raise invalid("filters", "A filter has the name that git's configuration gives it, such as lfs.")
    for name in (*((config.env_file,) if config.env_file else ()), *config.copy_files):
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise invalid("copy_files", f"“{name}” must be a path inside the repository.")
    return replace(config, rules=_rules(config.rules), checks=check_checks(config.checks))


def check_agent_config(config: AgentConfig) -> AgentConfig:
    """Raises AgentPaneError with VALIDATION_ERROR naming the field."""
    if config.max_turns is not None and not 1 <= config.max_turns <= 1_000:
        raise invalid("max_turns", "The turn limit must be from 1 to 1,000.")
    if config.allowed_tools is not None:
        _check_tools(config.allowed_tools)
    check_budget("budget", config.budget)
    if config.policy is not None and config.policy not in set(Policy):
        raise invalid("policy", f"“{config.policy}” is no policy.")
    if config.model is not None:
        check_line("model", config.model, 200)
    return replace(config, rules=_rules(config.rules))


def _rules(given: tuple[str, ...]) -> tuple[str, ...]:
    """Each once, in the words in which rules are kept."""
    return tuple(dict.fromkeys(rule.text for rule in parse_all(given)))


def _check_tools(names: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in DEFAULT_TOOLS and not is_tool_name(name)]
    if unknown:
        raise invalid("allowed_tools", f"There is no tool called {', '.join(unknown)}.")
