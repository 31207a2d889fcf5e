"""The models on offer, their prices, and what it costs to know them."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from anthropic.types import Model

from agentpane.orchestrator.backends.messages_api import DEFAULT_MODEL, model_names, models
from agentpane.orchestrator.backends.messages_api.prices import cost_of


def test_the_models_are_the_sdks_own_list() -> None:
    assert set(model_names()) == {name for part in get_args(Model) for name in get_args(part)}


def test_the_default_is_a_current_model_with_a_known_price() -> None:
    from anthropic.resources.messages.messages import DEPRECATED_MODELS

    assert DEFAULT_MODEL in model_names()
    assert DEFAULT_MODEL not in DEPRECATED_MODELS
    (default,) = (choice for choice in models() if choice.is_default)
    assert default.id == DEFAULT_MODEL
    assert default.input_price is not None and default.output_price is not None
    assert 0 < default.input_price < default.output_price


def test_prices_are_of_a_million_tokens_and_unknown_ones_are_none() -> None:
    prices = {choice.id: (choice.input_price, choice.output_price) for choice in models()}
    assert prices["claude-haiku-4-5"] == pytest.approx((1.0, 5.0))
    assert prices["claude-mythos-preview"] == (None, None)
    assert cost_of("no-such-model", {"input_tokens": 1, "output_tokens": 1}) is None


def test_the_backends_and_the_list_of_models_come_without_the_sdk() -> None:
    code = (
        "import sys\n"
        "from agentpane.orchestrator.backends.messages_api import MessagesApiBackend, model_names\n"
        "from agentpane.orchestrator.backends.recorded import RecordedBackend\n"
        "MessagesApiBackend(); RecordedBackend(); assert model_names()\n"
        "sys.exit(', '.join({'anthropic', 'httpx2', 'genai_prices'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
