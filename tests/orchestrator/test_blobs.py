"""Long values move out of an event and come back whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpane.domain.json import JsonValue
from agentpane.domain.sessions import EVENT_LIMIT
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore


def test_short_data_stays_as_it_is(tmp_path: Path) -> None:
    data = {"content": "short", "input": {"a": 1}}
    assert BlobStore(tmp_path).fit(data) is data
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        {"content": "x" * 200_000, "name": "Read"},
        {"content": "é\ud800\n" * 60_000},
        {"input": {"content": "y" * 100_000, "file_path": "a"}, "call_id": "1"},
        {"a": "x" * 40_000, "b": "y" * 40_000, "c": "z" * 40_000},
    ],
)
def test_long_data_fits_and_comes_back_whole(tmp_path: Path, data: dict[str, JsonValue]) -> None:
    store = BlobStore(tmp_path)
    fitted = store.fit(data)
    assert len(json.dumps(fitted).encode()) <= EVENT_LIMIT
    assert store.whole(fitted) == data
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in tmp_path.iterdir())


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda key: key != "blobs"), st.text(), max_size=4))
def test_any_data_comes_back_whole(tmp_path_factory: pytest.TempPathFactory, data: dict[str, str]) -> None:
    store = BlobStore(tmp_path_factory.getbasetemp())
    grown: dict[str, JsonValue] = {key: value * 20_000 for key, value in data.items()}
    assert store.whole(store.fit(grown)) == grown


def test_the_same_output_is_stored_once_and_read_in_parts(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.fit({"content": "x" * 200_000})
    fitted = store.fit({"content": "x" * 200_000})
    (name,) = os.listdir(tmp_path)
    assert str(name) in json.dumps(fitted)
    assert store.read(name, 199_990, 100) == b"x" * 10


@pytest.mark.parametrize("name", ["../engine.lock", "0" * 64, ""])
def test_a_name_that_is_no_output_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "engine.lock").touch()
    with pytest.raises(AgentPaneError) as caught:
        BlobStore(tmp_path / "blobs").read(name)
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
