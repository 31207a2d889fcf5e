"""The models that an agent may use: the SDK's own list, read without importing the SDK."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Literal, get_args, get_origin

from agentpane.domain.agents import ModelChoice
from agentpane.errors import AgentPaneError, ErrorCode

DEFAULT_MODEL = "claude-sonnet-5-5"
MAX_TOKENS = 32_000  # of one answer; every model of the list can write more


def model_names() -> tuple[str, ...]:
    """The SDK's model names, newest first.

    The file that lists them imports nothing but typing; importing it by way of its package would cost over a second.
    """
    package = importlib.util.find_spec("anthropic")
    if package is None or package.origin is None:
        raise AgentPaneError(ErrorCode.AGENT_BACKEND_MISSING, "The anthropic package is not installed.")
    path = Path(package.origin).parent / "types" / "model.py"
    spec = importlib.util.spec_from_file_location("agentpane_anthropic_models", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    literals = [part for part in get_args(module.Model) if get_origin(part) is Literal]
    return tuple(str(name) for literal in literals for name in get_args(literal))


def models() -> tuple[ModelChoice, ...]:
    """The SDK's models with their prices. Reads files: call it in a thread."""
    chosen = []
    for name in model_names():
        input_price, output_price = usd_of_million(name)
        chosen.append(ModelChoice(name, input_price, output_price, is_default=name == DEFAULT_MODEL))
    return tuple(chosen)


def usd_of_million(model: str) -> tuple[float | None, float | None]:
    """US dollars for a million tokens in and out; None where unknown. Slow at first: call it in a thread."""
    prices = importlib.import_module("agentpane.orchestrator.backends.messages_api.prices")
    found: tuple[float | None, float | None] = prices.price_of_million(model)
    return found
