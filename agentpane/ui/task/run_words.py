"""A run's figures and its budgets in words. No widget."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from agentpane.domain.budgets import Scope, Standing
from agentpane.domain.runs import Run, RunStatus
from agentpane.ui.cards.card_text import pause_words
from agentpane.ui.parts import figures
from agentpane.ui.parts.plain import one_line

STATUS_WORDS = {
    RunStatus.QUEUED: ("queue", "muted", "Queued"),
    RunStatus.STARTING: ("clock", "accent", "Starting"),
    RunStatus.RUNNING: ("dot", "accent", "Running"),
    RunStatus.PAUSED: ("pause", "attention", "Paused"),
    RunStatus.COMPLETED: ("check", "success", "Completed"),
    RunStatus.ERROR: ("error", "danger", "Failed"),
    RunStatus.CANCELLED: ("stop", "muted", "Stopped"),
    RunStatus.INTERRUPTED: ("alert", "danger", "Interrupted"),
}


def tr(text: str) -> str:
    return QCoreApplication.translate("run", text)


def status_words(run: Run) -> tuple[str, str, str]:
    """How a run stands: icon, token, words."""
    icon, token, word = STATUS_WORDS[run.status]
    return icon, token, pause_words(run.pause_reason) if run.status is RunStatus.PAUSED else tr(word)


def run_facts(runs: tuple[Run, ...]) -> tuple[tuple[str, str], ...]:
    """Name and value of what is known of the newest run; the cost of all of them where there were others."""
    if not runs:
        return ()
    run = runs[-1]
    facts = (
        (tr("Agent"), "  ·  ".join(one_line(part) for part in (run.agent, run.model) if part)),
        (tr("Sandbox"), tier_words(run.sandbox_tier)),
        (tr("Turns"), tr("{0} of {1}").format(figures.count(run.turns), figures.count(run.turn_limit))),
        (tr("Tokens"), token_words(run.input_tokens, run.output_tokens)),
        (tr("Context"), context_words(run.context_used, run.context_window)),
        (tr("Cost"), cost_words(runs)),
        (tr("Time"), figures.worked(run)),
    )
    return tuple((name, value) for name, value in facts if value)


def tier_words(tier: str | None) -> str:
    """What confines a run's commands."""
    names = {"A": tr("bubblewrap"), "B": tr("Landlock"), "C": tr("none: every command is asked for")}
    return tr("Tier {0}, {1}").format(tier, names.get(tier, "")).rstrip(", ") if tier else ""


def token_words(read: int, written: int) -> str:
    return tr("{0} read, {1} written").format(figures.tokens(read), figures.tokens(written)) if read or written else ""


def context_words(used: int | None, window: int | None) -> str:
    """How full the model's context is."""
    if used is None:
        return ""
    if not window:
        return figures.tokens(used)
    return tr("{0} of {1} in use").format(figures.percent(min(used / window, 1.0)), figures.tokens(window))


def cost_words(runs: tuple[Run, ...]) -> str:
    """The newest run's cost, and that of all when there were others."""
    own = figures.money(runs[-1].cost_usd)
    if len(runs) == 1:
        return own
    costs = [run.cost_usd for run in runs]
    known = [cost for cost in costs if cost is not None]
    whole = figures.money(sum(known) if len(known) == len(costs) else None)
    return tr("{0}; all {1} runs: {2}").format(own, figures.count(len(runs)), whole)


def standing_words(one: Standing) -> str:
    """What has been used of a budget, and whose it is: “$4.10 of $5.00 for this task”."""
    parts = []
    if one.budget.usd is not None:
        spent = figures.money(one.spent.usd)
        if one.spent.unpriced:
            spent = tr("at least {0}").format(spent)
        parts.append(tr("{0} of {1}").format(spent, figures.money(one.budget.usd)))
    if one.budget.tokens is not None:
        used, limit = figures.tokens(one.spent.tokens), figures.tokens(one.budget.tokens)
        parts.append(tr("{0} of {1} tokens").format(used, limit))
    return ", ".join(parts)


def scope_words(scope: Scope) -> str:
    """Whose budget it is."""
    return {
        Scope.RUN: tr("This run"),
        Scope.TASK: tr("This task"),
        Scope.PROJECT: tr("This project"),
        Scope.DAY: tr("Today, all projects"),
    }[scope]


def standing_token(one: Standing) -> str:
    """The colour of a budget's bar, and what it says: reached, near or neither."""
    if one.is_reached:
        return "danger"
    return "attention" if one.is_near else "accent"
