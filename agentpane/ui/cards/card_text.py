"""What a card says in words: its state, its figures, its one primary action. No Qt widget and no painting."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.queueing import Places
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.tasks import RunBrief, TaskCard, TodoState
from agentpane.ui.cards import standing_words
from agentpane.ui.cards.card_line import Line as Line
from agentpane.ui.parts import figures


def tr(text: str) -> str:
    return QCoreApplication.translate("card", text)


def primary(card: TaskCard) -> tuple[str, str, str]:
    """The one thing to do with a card: the action's id, its word, its icon."""
    if card.column is Column.BACKLOG:
        return "task.run", tr("Run"), "play"
    if card.column is Column.WAITING_APPROVAL:
        return "task.review", tr("Review"), "eye"
    return "task.open", tr("Open"), "open"


def state_line(
    card: TaskCard, activity: str | None = None, retry_in: int | None = None, *, held: bool = False
) -> Line | None:
    """The one live line of a card, or None where there is nothing to say.

    held: paused runs keep the places that a queued one waits for.
    """
    if card.column is Column.WAITING_APPROVAL:
        return None
    if card.column is Column.VERIFIED:
        return Line("merge", "success", tr("Merged"))
    planned = card.run is not None and card.run.pause_reason is PauseReason.PLAN
    if card.column is Column.IN_PROGRESS and card.approvals_pending and not planned:
        asks = figures.plural(card.approvals_pending, tr("Asks to run {0} tool call"), tr("Asks to run {0} tool calls"))
        return Line("alert", "attention", asks)
    if card.code == "TASK_NO_DIFF":
        left = tr("Resolved so that nothing of it is left")
        words = tr("Finished without changing anything") if card.resolving is None else left
        return Line("info", "attention", words)
    if card.column is not Column.IN_PROGRESS or card.run is None:
        return None
    if card.run.status is RunStatus.QUEUED:
        return _queue_line(card.run.queue_place, held)
    return _run_line(card.run, activity, retry_in)


def _queue_line(place: int | None, held: bool) -> Line:
    words = tr("Queued, number {0}").format(place) if place else tr("Queued")
    if not held:
        return Line("queue", "muted", words)
    because = tr("{0}: paused runs hold the places")
    return Line("queue", "attention", because.format(words), because.format(tr("Queued")))


def _run_line(run: RunBrief, activity: str | None, retry_in: int | None) -> Line:
    match run.status:
        case RunStatus.STARTING:
            return Line("clock", "accent", activity or tr("Preparing the worktree"))
        case RunStatus.RUNNING:
            if retry_in is not None:
                return Line("retry", "attention", tr("Next try in {0} s").format(retry_in))
            return Line("dot", "accent", activity or tr("Working"))
        case RunStatus.PAUSED:
            asked = run.question if run.pause_reason is PauseReason.QUESTION else None
            return Line("pause", "attention", " ".join((asked or pause_words(run.pause_reason)).split()))
        case RunStatus.ERROR:
            return Line("error", "danger", run.error_message or tr("Failed"))
        case RunStatus.INTERRUPTED:
            return Line("alert", "danger", tr("Interrupted: the engine ended"))
        case RunStatus.CANCELLED:
            return Line("stop", "muted", tr("Stopped"))
    return Line("check", "success", tr("Finished"))


def pause_words(reason: PauseReason | None) -> str:
    match reason:
        case PauseReason.APPROVAL:
            return tr("Waits for your approval")
        case PauseReason.TURN_LIMIT:
            return tr("Paused at the turn limit")
        case PauseReason.KEY:
            return tr("Needs a key for the model")
        case PauseReason.SPEND_LIMIT:
            return tr("Spend limit of the account reached")
        case PauseReason.QUESTION:
            return tr("Asks you a question")
        case PauseReason.PLAN:
            return tr("Its plan waits for you")
        case PauseReason.BUDGET:
            return tr("Budget used up")
        case _:
            return tr("Paused")


def shorter_facts(run: RunBrief | None) -> tuple[list[str], ...]:
    """The facts of a run for ever narrower cards: first the time goes, then the turns, then the cost."""
    facts = run_facts(run)
    return facts, [*facts[:1], *facts[2:]], facts[2:], []


def run_facts(run: RunBrief | None) -> list[str]:
    """Turns, time and cost of a run."""
    if run is None or run.started_at is None:
        return []
    facts = [tr("{0}/{1} turns").format(figures.count(run.turns), figures.count(run.turn_limit))]
    facts.append(figures.worked(run))
    if run.cost_usd is not None:
        facts.append(figures.money(run.cost_usd))
    return facts


def progress_words(card: TaskCard) -> tuple[str, float | None] | None:
    """The agent's own list in a few words, and how full its context is (1.0 is all); None where neither is known."""
    if card.column is not Column.IN_PROGRESS:
        return None
    run = card.run
    full = None
    if run is not None and run.context_used is not None and run.context_window:
        full = min(1.0, run.context_used / run.context_window)
    if not card.todos:
        return None if full is None else ("", full)
    done = sum(todo.state is TodoState.COMPLETED for todo in card.todos)
    here = next((todo for todo in card.todos if todo.state is TodoState.IN_PROGRESS), None)
    here = here or next((todo for todo in card.todos if todo.state is TodoState.PENDING), None)
    words = tr("{0} of {1}").format(figures.count(done), figures.count(len(card.todos)))
    return (f"{words}  ·  {here.text}" if here else words), full


def tier_word(tier: str | None) -> str:
    """The sandbox tier of a run, by its letter."""
    if not tier:
        return ""
    return tr("Tier {0}").format(tier)


def places_words(places: Places) -> tuple[str, ...]:
    """How many places are taken, and why a queue may stand still: the longest words first."""
    taken, most, paused = (figures.count(number) for number in (places.taken, places.most, places.paused))
    said = tr("{0} of {1} places").format(taken, most)
    if not places.paused:
        return (said,)
    waits = figures.plural(places.paused, tr("{0} waits for you"), tr("{0} wait for you"))
    short = f"{taken}/{most}"
    return f"{said}, {waits}", tr("{0}, {1} paused").format(short, paused), tr("{0}, {1} wait").format(short, paused)


def diff_words(card: TaskCard) -> tuple[str, str, str] | None:
    """Lines added, lines removed, files; None without a diff."""
    if card.files_changed is None:
        return None
    return (
        f"+{figures.count(card.lines_added or 0)}",
        f"−{figures.count(card.lines_removed or 0)}",
        figures.plural(card.files_changed, tr("{0} file"), tr("{0} files")),
    )


def spoken(card: TaskCard, *, held: bool = False) -> str:
    """The card as one sentence for a screen reader."""
    parts = [card.title, COLUMN_TITLES[card.column]]
    line = state_line(card, held=held)
    if line is not None:
        parts.append(line.text)
    parts += [one.text for one in standing_words.lines(card)]
    progress = progress_words(card)
    if progress is not None:
        done, full = progress
        parts += [tr("its list: {0}").format(done)] if done else []
        parts += [tr("context {0}").format(figures.percent(full))] if full is not None else []
    diff = diff_words(card)
    if diff is not None:
        parts.append(" ".join(diff))
    if card.labels:
        parts.append(tr("labels {0}").format(", ".join(card.labels)))
    if card.agent:
        parts.append(tr("agent {0}").format(card.agent))
    return "; ".join(parts)


def rows(card: TaskCard) -> tuple[str, bool, int, bool, bool]:
    """What a card's height depends on, its width aside: title, labels, lines of words, diff, progress."""
    progress = progress_words(card) is not None
    said = (state_line(card) is not None) + len(standing_words.lines(card))
    return card.title, bool(card.labels), said, has_diff_row(card), progress


def has_diff_row(card: TaskCard) -> bool:
    return card.files_changed is not None and card.column in {Column.WAITING_APPROVAL, Column.VERIFIED}
