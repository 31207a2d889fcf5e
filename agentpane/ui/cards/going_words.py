"""What is said of a card that is put back: what stays of it and what goes, before and afterwards. No Qt widget."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from agentpane.domain.keeping import Cancelled, Going
from agentpane.ui.parts import figures
from agentpane.ui.parts.plain import display_path, one_line


def tr(text: str) -> str:
    return QCoreApplication.translate("going", text)


def going_words(going: Going) -> str:
    """What becomes of a card's branch and of what git ignores, after a full stop; empty where there is neither."""
    words = ""
    if not going.branch_known:
        words += " " + tr("AgentPane cannot look whether a branch holds its commits.")
    elif going.branch is not None:
        words += " " + tr("Its commits stay on branch {0}; the next run begins another.").format(one_line(going.branch))
    if going.ignored:
        words += " " + tr("What git ignores goes with the worktree: {0}.").format(_ignored(going))
    elif going.ignored is None:
        words += " " + tr("What git ignores may go with the worktree.")
    return words


def gone_words(done: Cancelled) -> str:
    """What has become of it, after a full stop; empty where there was nothing."""
    going, words = done.going, ""
    if going.branch is not None:
        words += " " + tr("Its commits stay on branch {0}.").format(one_line(going.branch))
    if done.kept is not None:
        words += " " + tr("What its worktree held beyond its branch is in the recovery bin.")
    if going.ignored:
        words += " " + tr("What git ignores went with the worktree: {0}.").format(_ignored(going))
    elif going.ignored is None:
        words += " " + tr("What git ignored there, if anything, went with the worktree.")
    return words


def _ignored(going: Going) -> str:
    names, count = ", ".join(map(display_path, going.some)), going.ignored or 0
    more = count - len(going.some)
    return tr("{0} and {1} more").format(names, figures.count(more)) if more else names
