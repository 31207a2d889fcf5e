"""A command: a frozen value that says what is wanted, and whose type says what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, get_args

R = TypeVar("R")
Environment = Mapping[str, str]


class Command(Generic[R]):
    """The base of every command. `Command[Task]` is answered with a Task."""

    __slots__ = ()


def result_type(command: type[Command[Any]]) -> Any:
    """The type of the answer to `command`, as written in its base."""
    return get_args(command.__orig_bases__[0])[0]  # type: ignore[attr-defined]
