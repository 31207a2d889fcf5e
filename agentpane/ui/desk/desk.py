"""What every page of a window needs, in one hand: the link, its jobs, what is known, the actions and the notices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from agentpane.ui.desk.actions import Actions
from agentpane.ui.desk.jobs import Jobs
from agentpane.ui.desk.known import Known
from agentpane.ui.desk.link import Link
from agentpane.ui.desk.notices import Toasts

if TYPE_CHECKING:
    from agentpane.ui.desk.acts import Acts


@dataclass(slots=True)
class Desk:
    """Put together once by the window; `acts` is what the task actions do."""

    window: QWidget
    link: Link
    jobs: Jobs
    known: Known
    actions: Actions
    toasts: Toasts
    acts: Acts
