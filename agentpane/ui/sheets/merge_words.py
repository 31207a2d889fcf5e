"""How a merge will be made, to choose, and what it will do to the target branch, in words."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from agentpane.domain.review import MergeStrategy
from agentpane.ui.parts.controls import Label, row
from agentpane.ui.parts.one_of import OneOf


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
        self._choice = OneOf(self, "strategy", strategy_choices(), "segment")
        self._choice.chosen.connect(lambda name: self.choose(MergeStrategy(name)))
        choices = row(*self._choice.buttons.values(), None, spacing=0)
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
        self._choice.show_choice(strategy.value)
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


def strategy_choices() -> tuple[tuple[str, str], ...]:
    """The strategies' values and their names for a person."""
    return (
        (MergeStrategy.MERGE.value, QCoreApplication.translate("StrategyPicker", "Merge commit")),
        (MergeStrategy.SQUASH.value, QCoreApplication.translate("StrategyPicker", "Squash")),
        (MergeStrategy.FF.value, QCoreApplication.translate("StrategyPicker", "Fast-forward")),
    )


def strategy_named(name: str) -> MergeStrategy:
    """The strategy that the settings name; a merge commit where they name none that exists."""
    return MergeStrategy(name) if name in set(MergeStrategy) else MergeStrategy.MERGE
