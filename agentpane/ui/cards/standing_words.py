"""How a card stands beside its own work, in words: conflicts, their resolution, checks, cards at the same places."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from agentpane.domain.board import Column
from agentpane.domain.checks import STOPPED, UNDER_WAY, CheckResult, CheckState
from agentpane.domain.conflicts import Conflict, LineRange, Overlap, OverlapKind
from agentpane.domain.resolving import Resolver, Stage
from agentpane.domain.tasks import TaskCard
from agentpane.ui.cards.card_line import Line
from agentpane.ui.parts import figures
from agentpane.ui.parts.plain import one_line

MOST_RANGES = 6  # of one side that are written out


def tr(text: str) -> str:
    return QCoreApplication.translate("standing", text)


def lines(card: TaskCard) -> tuple[Line, ...]:
    """The lines of a card about what is around it, the gravest first."""
    if card.restored:
        return (Line("undo", "accent", tr("Restored work lies in its worktree"), tr("Restored work")),)
    if card.column not in {Column.IN_PROGRESS, Column.WAITING_APPROVAL}:
        return ()
    found = (_resolving(card), _conflicts(card), check_line(card.checks), overlap_line(card.overlaps))
    return tuple(line for line in found if line is not None)


def _resolving(card: TaskCard) -> Line | None:
    under_way = card.resolving
    if under_way is None:
        return None
    if under_way.stage is Stage.ABANDONED:
        return Line("undo", "muted", tr("Sets the worktree back"))
    target = one_line(under_way.target)
    if under_way.by is Resolver.PERSON:
        return Line("edit", "attention", tr("You resolve the conflict with {0}").format(target))
    return Line("merge", "accent", tr("Resolves the conflict with {0}").format(target))


def _conflicts(card: TaskCard) -> Line | None:
    if not card.conflicts or card.resolving is not None:
        return None
    words = figures.plural(len(card.conflicts), tr("Conflicts in {0} file"), tr("Conflicts in {0} files"))
    return Line("alert", "danger", words)


def check_line(checks: tuple[CheckResult, ...]) -> Line | None:
    """Where the checks are; None where there are none."""
    if not checks:
        return None
    done = sum(check.state not in UNDER_WAY for check in checks)
    whole = figures.count(len(checks))
    if any(check.state is CheckState.RUNNING for check in checks):
        return Line("ring", "accent", tr("Checks: {0} of {1} done").format(figures.count(done), whole))
    blocking = sum(check.blocks for check in checks if check.state not in UNDER_WAY)
    if blocking:
        return Line("error", "danger", tr("Checks: {0} of {1} did not pass").format(figures.count(blocking), whole))
    if done < len(checks):
        return Line("clock", "muted", tr("Checks have not been run"))
    warned = sum(check.state is not CheckState.PASSED for check in checks)
    if warned:
        return Line("alert", "attention", tr("Checks passed, {0} warned").format(figures.count(warned)))
    return Line("check-circle", "success", tr("Checks passed"))


def overlap_line(overlaps: tuple[Overlap, ...]) -> Line | None:
    """Which card edits the same places."""
    if not overlaps:
        return None
    cards = list(dict.fromkeys((overlap.task_id, overlap.title) for overlap in overlaps))
    token = "attention" if any(overlap.clashes for overlap in overlaps) else "muted"
    words = tr("Same lines as “{0}”").format(one_line(cards[0][1]))
    short = tr("Same lines as {0} card"), tr("Same lines as {0} cards")
    if all(overlap.kind is not OverlapKind.LINES for overlap in overlaps):
        words = tr("Same file as “{0}”").format(one_line(cards[0][1]))
        short = tr("Same file as {0} card"), tr("Same file as {0} cards")
    if len(cards) > 1:
        more = len(cards) - 1
        words += figures.plural(more, tr(" and {0} more"), tr(" and {0} more"))
    return Line("overlap", token, words, figures.plural(len(cards), *short))


def lines_words(ranges: tuple[LineRange, ...]) -> str:
    """The ranges with the word before them: line 3, lines 7–9."""
    single = len(ranges) == 1 and ranges[0].count == 1
    return (tr("line {0}") if single else tr("lines {0}")).format(range_words(ranges))


def range_words(ranges: tuple[LineRange, ...]) -> str:
    """Line ranges as they are written in editors: 12–14, 30."""
    said = [_range(one) for one in ranges[:MOST_RANGES]]
    if len(ranges) > MOST_RANGES:
        said.append(tr("{0} more").format(figures.count(len(ranges) - MOST_RANGES)))
    return ", ".join(said)


def _range(one: LineRange) -> str:
    if not one.count:
        return tr("after {0}").format(one.start)
    return str(one.start) if one.count == 1 else f"{one.start}–{one.last}"


def conflict_words(conflict: Conflict, target: str) -> str:
    """What collides in a file, and where on both sides."""
    sides = []
    if conflict.card_lines:
        sides.append(tr("here: {0}").format(lines_words(conflict.card_lines)))
    if conflict.target_lines:
        sides.append(tr("{0}: {1}").format(one_line(target), lines_words(conflict.target_lines)))
    return "  ·  ".join([kind_words(conflict.kind), *sides])


def kind_words(kind: str) -> str:
    """What kind of conflict it is; git's own word where there is none of ours."""
    return {
        "contents": tr("both changed it"),
        "content": tr("both changed it"),
        "add/add": tr("both added it"),
        "modify/delete": tr("one changed it, the other deleted it"),
        "rename/delete": tr("one renamed it, the other deleted it"),
        "rename/rename": tr("both renamed it"),
        "binary": tr("both changed it, and it is binary"),
        "submodule": tr("both moved the submodule"),
        "file/directory": tr("a file here, a folder there"),
        "distinct modes": tr("a file here, a link there"),
    }.get(kind, one_line(kind))


def overlap_words(overlap: Overlap) -> str:
    """What two cards do at one place."""
    match overlap.kind:
        case OverlapKind.DELETED:
            words = tr("one deletes it, the other edits it")
        case OverlapKind.FILE:
            words = tr("both change the whole file")
        case OverlapKind.LINES:
            words = tr("both edit {0}").format(lines_words(overlap.lines))
    return f"{words}  ·  {tr('cannot be merged by itself')}" if overlap.clashes else words


def check_state(check: CheckResult) -> Line:
    """How one check stands."""
    match check.state:
        case CheckState.PASSED:
            return Line("check-circle", "success", tr("passed"))
        case CheckState.RUNNING:
            return Line("ring", "accent", tr("is running"))
        case CheckState.PENDING:
            return Line("clock", "muted", tr("has not been run"))
        case CheckState.TIMED_OUT:
            words = tr("took longer than {0}").format(figures.duration(check.seconds or 0))
        case CheckState.NOT_RUN:
            words = tr("was stopped") if check.output == STOPPED else tr("could not be run")
        case CheckState.FAILED:
            words = tr("ended with status {0}").format(check.exit_code)
    return Line("error" if check.required else "alert", "danger" if check.required else "attention", words)


def what_keeps(card: TaskCard, target: str) -> str:
    """Why a card cannot be approved as it stands; empty where it can, as far as it is known."""
    if card.resolving is not None:
        return tr("Its conflict with {0} is being resolved.").format(one_line(card.resolving.target))
    if card.conflicts:
        words = tr("It conflicts with {0} in {1} file."), tr("It conflicts with {0} in {1} files.")
        return words[len(card.conflicts) != 1].format(one_line(target), figures.count(len(card.conflicts)))
    failed = [check.name for check in card.checks if check.blocks and check.state not in UNDER_WAY]
    if failed:
        return tr("A required check did not pass: {0}.").format(", ".join(map(one_line, failed)))
    return ""
