"""A form that the program wants to have filled in, as questions to a person and their answers as the form's values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_QUESTIONS = 10
YES = frozenset({"yes", "y", "true", "1"})


@dataclass(frozen=True, slots=True)
class Question:
    """One field. options: what a person may choose. values: what the form wants for each. other: a field for words."""

    field: str
    kind: str
    text: str
    options: tuple[str, ...]
    values: tuple[str, ...]
    other: str | None


def questions_of(params: Any) -> tuple[Question, ...]:
    """The fields that must be filled in; where none must, those with a choice, else the first."""
    if params.mode != "form":
        return ()
    schema = params.requested_schema.model_dump(by_alias=True, exclude_none=True)
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = [name for name in schema.get("required") or () if name in properties]
    chosen = required or [name for name in properties if _choices(properties[name])] or list(properties)[:1]
    return tuple(_question(params.message, name, properties) for name in chosen[:MOST_QUESTIONS])


def answer_form(question: Question, answer: str) -> dict[str, Any]:
    """The field's value for what a person has said."""
    said = answer.strip()
    for option, value in zip(question.options, question.values, strict=True):
        if said.casefold() in (option.casefold(), value.casefold()):
            return {question.field: [value] if question.kind == "array" else value}
    if question.options and question.other is not None:
        return {question.other: said}
    match question.kind:
        case "boolean":
            return {question.field: said.casefold() in YES}
        case "integer" | "number":
            try:
                return {question.field: int(said) if question.kind == "integer" else float(said)}
            except ValueError:
                return {question.field: said}
        case "array":
            return {question.field: [said]}
        case _:
            return {question.field: said}


def _question(message: str, name: str, properties: Mapping[str, Any]) -> Question:
    schema = properties[name]
    choices = _choices(schema)
    words = [message, str(schema.get("title") or ""), str(schema.get("description") or "")]
    text = "\n".join(dict.fromkeys(word for word in words if word))
    other = f"{name}_custom" if f"{name}_custom" in properties else None
    kind = str(schema.get("type") or "string")
    return Question(name, kind, text, tuple(title for _, title in choices), tuple(value for value, _ in choices), other)


def _choices(schema: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Each choice as the form's value and as a person reads it."""
    where = schema.get("items") if schema.get("type") == "array" else schema
    if not isinstance(where, Mapping):
        return ()
    titled = where.get("oneOf") or where.get("anyOf")
    if titled:
        return tuple((str(one["const"]), str(one.get("title") or one["const"])) for one in titled if "const" in one)
    return tuple((str(value), str(value)) for value in where.get("enum") or ())
