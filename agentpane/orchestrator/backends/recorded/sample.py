"""The sample project, its cards and their recordings, as they ship with the program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpane import paths
from agentpane.orchestrator.backends.recorded.recording import Recording, load

IGNORE_FILE = "dot-gitignore"  # shipped under this name, so that no tool takes it for one of this repository


@dataclass(frozen=True, slots=True)
class SampleCard:
    """plays: the card that `agentpane demo` plays."""

    key: str
    title: str
    description: str
    labels: tuple[str, ...]
    plays: bool


def sample_name() -> str:
    return str(_index()["name"])


def sample_files() -> dict[str, bytes]:
    """The sample project's files by their path in it."""
    folder = _folder() / "project"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix().replace(IGNORE_FILE, ".gitignore"): path.read_bytes() for path in files}


def sample_cards() -> tuple[SampleCard, ...]:
    return tuple(
        SampleCard(
            card["key"], card["title"], card["description"], tuple(card["labels"]), card["key"] == index["plays"]
        )
        for index in [_index()]
        for card in index["cards"]
    )


def recordings() -> tuple[Recording, ...]:
    folder = _folder() / "recordings"
    return tuple(load(folder / f"{card.key}.json", card.key, card.title) for card in sample_cards())


def _folder() -> Path:
    return paths.shipped("resources") / "demo"


def _index() -> dict[str, Any]:
    index: dict[str, Any] = json.loads((_folder() / "demo.json").read_text(encoding="utf-8"))
    return index
