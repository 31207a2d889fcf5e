"""Every test here makes Qt objects."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def collected(garbage_on_this_thread: None) -> None:
    """The windows of a test are gone, on this thread, when it ends."""
