"""How a merge will be made, to choose, and what it will do to the target branch, in words."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QVBoxLayout, QWidget

from agentpane.domain.review import MergeStrategy
from agentpane.ui.controls import Button, Label, row


class StrategyPicker(QWidget):
    """Merge, squash or fast-forward."""

    changed = Signal()

    def __init__(self, sha: str, target: str, strategy: MergeStrategy) -> None:
        super().__init__()
        self.setObjectName("strategy")
        self._sha, self._target = sha, target
        self.strategy = strategy
        self._words = Label("", "small", wrap=True)
        self._words.setObjectName("strategy.words")
        group = QButtonGroup(self)
        choices = row(spacing=0)
        for value, text in (
            (MergeStrategy.MERGE, self.tr("Merge commit")),
            (MergeStrategy.SQUASH, self.tr("Squash")),
            (MergeStrategy.FF, self.tr("Fast-forward")),
        ):
            button = Button(text, kind="segment", name=f"strategy.{value.value}")
            button.setCheckable(True)
            button.setChecked(value is strategy)
            button.clicked.connect(lambda _=False, value=value: self.choose(value))
            group.addButton(button)
            choices.addWidget(button)
        choices.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(choices)
        layout.addWidget(self._words)
        self.choose(strategy)

    def aim(self, sha: str, target: str) -> None:
        """Say what it will do with another commit or branch."""
        self._sha, self._target = sha, target
        self.choose(self.strategy)

    def choose(self, strategy: MergeStrategy) -> None:
        self.strategy = strategy
        text = {
            MergeStrategy.MERGE: self.tr("Adds a merge commit of {0} to {1}. The agent's commit stays in the history."),
            MergeStrategy.SQUASH: self.tr(
                "Adds one commit with the changes of {0} to {1}, without the branch's own history."
            ),
            MergeStrategy.FF: self.tr("Moves {1} forward to {0}. Refused if {1} has commits of its own since."),
        }[strategy]
        kept = self.tr("Files that you have not committed are left alone.")
        self._words.show_text(text.format(self._sha[:10] or "–", self._target or "–") + " " + kept)
        self.changed.emit()


def strategy_named(name: str) -> MergeStrategy:
    """The strategy that the settings name; a merge commit where they name none that exists."""
    return MergeStrategy(name) if name in set(MergeStrategy) else MergeStrategy.MERGE
