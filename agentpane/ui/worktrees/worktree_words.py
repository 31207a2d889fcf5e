"""What is said of worktrees, recovery snapshots and the doctor's findings. No Qt widget."""

from __future__ import annotations

from datetime import UTC, datetime

from PySide6.QtCore import QCoreApplication

from agentpane.domain.health import DoctorReport, Finding, StaleReason, WorktreeEntry
from agentpane.domain.pool import PoolStatus
from agentpane.domain.recoveries import Beside, RecoverySnapshot, days_left
from agentpane.domain.worktrees import WorktreeStatus
from agentpane.ui.parts import figures
from agentpane.ui.parts.plain import display_path, one_line


def tr(text: str) -> str:
    return QCoreApplication.translate("worktrees", text)


def entry_title(entry: WorktreeEntry) -> str:
    """Whose worktree it is."""
    if entry.title:
        return one_line(entry.title)
    if entry.status is WorktreeStatus.POOLED:
        return tr("Ready for the next card")
    if entry.restored_from:
        return tr("Brought back from the recovery bin: {0}").format(one_line(entry.restored_from))
    if entry.branch.rpartition("/")[2].startswith("recovered-"):
        return tr("Brought back from the recovery bin")
    return tr("No card")


def entry_state(entry: WorktreeEntry) -> tuple[str, str]:
    """One word about its state and the kind of its chip; empty where there is nothing to say."""
    if entry.in_use:
        return tr("In use"), "chip"
    match entry.status:
        case WorktreeStatus.CREATING:
            return tr("Being made"), "chip"
        case WorktreeStatus.MERGING:
            return tr("Being merged"), "chip"
        case WorktreeStatus.REMOVING:
            return tr("Being removed"), "chip"
        case WorktreeStatus.ERROR:
            return tr("Broken"), "badge"
    return "", ""


def stale_words(reason: StaleReason) -> str:
    """Why a worktree may go."""
    return {
        StaleReason.IDLE: tr("Idle for a week"),
        StaleReason.BRANCH_GONE: tr("Branch is gone"),
        StaleReason.VERIFIED: tr("Merged"),
        StaleReason.ORPHANED: tr("Belongs to no card"),
        StaleReason.OFF_BOARD: tr("Left the board"),
    }[reason]


def size_words(size: int | None) -> str:
    return tr("not on the disk") if size is None else figures.size(size)


def whole_size(entries: tuple[WorktreeEntry, ...], kept: tuple[RecoverySnapshot, ...]) -> str:
    """The totals of the page in one line."""
    there = figures.plural(len(entries), tr("{0} worktree"), tr("{0} worktrees"))
    words = tr("{0}, {1}").format(there, figures.size(sum(entry.size_bytes or 0 for entry in entries)))
    if not kept:
        return words
    bin_ = figures.plural(len(kept), tr("{0} in the recovery bin"), tr("{0} in the recovery bin"))
    return f"{words}  ·  {bin_}, {figures.size(sum(one.size_bytes for one in kept))}"


def pool_words(pool: PoolStatus) -> str:
    """How many worktrees wait for the next cards."""
    if pool.off:
        return pool.off
    if not pool.wanted:
        return tr("No worktree is made in advance.")
    words = tr("{0} of {1} made in advance, so that the next card starts at once: {2}")
    return words.format(figures.count(pool.ready), figures.count(pool.wanted), figures.size(pool.size_bytes))


def recovery_title(kept: RecoverySnapshot) -> str:
    return one_line(kept.title) or one_line(kept.branch) or tr("A worktree that was kept ready")


def recovery_reason(kept: RecoverySnapshot) -> str:
    """What was about to be discarded."""
    known = {
        "cancel": tr("Kept when the card was stopped"),
        "approve": tr("Kept when the card was merged"),
        "reset": tr("Kept when the worktree was set back"),
        "retry afresh": tr("Kept when the agent began afresh"),
        "project remove": tr("Kept when the project was removed"),
        "no longer kept ready": tr("Kept when a worktree was no longer kept ready"),
        "changed while it was kept ready": tr("Kept when a worktree had changed while it was kept ready"),
        "before a conflict was written": tr("Kept before a conflict was written into the worktree"),
        "before a resolution was abandoned": tr("Kept before a resolution was abandoned"),
        "its folder was gone": tr("Kept when the worktree's folder was gone"),
        "restore": tr("Kept before other work was restored in its place"),
        "undo": tr("Kept when the merge was undone"),
        "not made to the end": tr("Kept when the worktree could not be made"),
        "cut off by the end of the engine": tr("Kept when the engine had ended while it was made"),
        "a person removed the worktree": tr("Kept when the worktree was removed"),
        "the doctor took it away": tr("Kept when the doctor took the worktree away"),
        "found by the doctor": tr("Found by the doctor"),
    }
    return known.get(kept.reason) or tr("Kept: {0}").format(one_line(kept.reason))


def recovery_facts(kept: RecoverySnapshot) -> str:
    """How large and how old it is, and how long it stays."""
    goes = tr("goes in {0}").format(days_to(kept.expires_at))
    files = figures.plural(kept.files, tr("{0} file"), tr("{0} files"))
    return "  ·  ".join((files, figures.size(kept.size_bytes), figures.ago(kept.created_at), goes))


def lost_words(kept: RecoverySnapshot) -> str:
    """All that goes with a snapshot, and which of several of the same card it is."""
    facts = (recovery_reason(kept), figures.moment(kept.created_at), one_line(kept.project))
    files = figures.plural(kept.files, tr("{0} file"), tr("{0} files"))
    held = f"{files}, {figures.size(kept.size_bytes)}"
    lines = ("  ·  ".join(fact for fact in facts if fact), held, beside_words(kept.beside))
    about = "\n".join(line for line in lines if line)
    return "\n\n".join((f"“{recovery_title(kept)}”", about, tr("It cannot be had back after this.")))


def beside_words(beside: Beside) -> str:
    """What is kept besides files, and the repositories inside whose history is not; empty where that is nothing."""
    found: list[str] = []
    if beside.commits:
        one, many = tr("{0} commit that no branch holds"), tr("{0} commits that no branch holds")
        found.append(figures.plural(beside.commits, one, many))
    if beside.staged:
        found.append(tr("what was staged"))
    for names, words in (
        (beside.bundles, tr("the history of {0}")),
        (beside.partly, tr("not all of the history of {0}")),
        (beside.closed, tr("not the history of {0}")),
    ):
        if names:
            found.append(words.format(", ".join(map(display_path, names))))
    return tr("Also kept: {0}").format(", ".join(found)) if found else ""


def days_to(when: datetime) -> str:
    """How many days are left, one that has begun counted whole."""
    return figures.plural(days_left(when, datetime.now(UTC)), tr("{0} day"), tr("{0} days"))


def expiring_words(kept: tuple[RecoverySnapshot, ...]) -> str:
    """That the recovery bin is about to let go of something."""
    first = min((one.expires_at for one in kept), default=datetime.now(UTC))
    left = days_to(first)
    words = tr("{0} recovery snapshot goes in {1}."), tr("{0} recovery snapshots go, the first in {1}.")
    return words[len(kept) != 1].format(figures.count(len(kept)), left)


def wrong(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those findings that are more than worth knowing."""
    return tuple(finding for finding in findings if not finding.notice)


def doctor_words(report: DoctorReport | None, *, looking: bool) -> str:
    """What the doctor found, and when he looked: what is shown may not hold any more."""
    if report is None:
        return tr("The doctor is looking …") if looking else ""
    said = [report_words(report.findings)]
    if report.at is not None:
        said.append(tr("Looked at {0}.").format(figures.moment(report.at)))
    if looking:
        said.append(tr("Looking again …"))
    return " ".join(said)


def report_words(findings: tuple[Finding, ...]) -> str:
    """How much is wrong, and how much is only worth knowing."""
    bad, notices = len(wrong(findings)), sum(finding.notice for finding in findings)
    words = found_words(findings) if bad else tr("Nothing is wrong")
    if notices and bad:
        more = tr("and {0} more is worth knowing"), tr("and {0} more are worth knowing")
        words += ", " + figures.plural(notices, *more)
    elif notices:
        words += ", " + figures.plural(notices, tr("{0} thing is worth knowing"), tr("{0} things are worth knowing"))
    return f"{words}."


def found_words(findings: tuple[Finding, ...]) -> str:
    return figures.plural(len(wrong(findings)), tr("The doctor found {0} thing"), tr("The doctor found {0} things"))
