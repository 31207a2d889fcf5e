"""A conversation in plain words, for agents that keep their conversation themselves.

Such an agent is told only what is new for it; one that cannot take its conversation up again is told all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

Message = Mapping[str, object]

RESULT_TEXT = 2_000  # characters of one result that are told again
WHOLE_TEXT = 200_000  # characters of a conversation that are told again
OPENING = "This work was begun before. What was said and done so far, oldest first:"
CLOSING = "Your earlier changes are still in the working folder; look at them before you repeat anything. Now:"


def news(history: Sequence[Message]) -> str:
    """What a person has said since the agent's last answer: the task itself at the start, feedback later on."""
    return "\n\n".join(_said(history[_answered(history) :]))


def said_by_person(history: Sequence[Message]) -> str:
    """All that a person has said, oldest first: for an agent that remembers nothing."""
    return "\n\n".join(_said([message for message in history if message["role"] == "user"]))


def retold(history: Sequence[Message], results: Sequence[Message] = ()) -> str:
    """The whole conversation as one text that ends with what is new. results: of the last answer's calls."""
    answered = _answered(history)
    if answered == 0:
        return news(history)
    told = [*history[:answered], {"role": "user", "content": list(results)}, *_results_of(history[answered:])]
    past = "\n\n".join(line for message in told for line in _lines(message))
    if len(past) > WHOLE_TEXT:
        half = WHOLE_TEXT // 2
        past = f"{past[:half]}\n[… {len(past) - 2 * half:,} characters left out …]\n{past[-half:]}"
    return f"{OPENING}\n\n{past}\n\n{CLOSING}\n\n{news(history) or 'Go on with the task.'}"


def _answered(history: Sequence[Message]) -> int:
    """How many messages there are up to the agent's last answer."""
    return max((place for place, message in enumerate(history, 1) if message["role"] == "assistant"), default=0)


def _said(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        for block in _blocks(message):
            if block.get("type") == "text":
                yield str(block["text"])


def _results_of(messages: Sequence[Message]) -> Iterator[Message]:
    for message in messages:
        results = [block for block in _blocks(message) if block.get("type") == "tool_result"]
        if results:
            yield {"role": "user", "content": results}


def _lines(message: Message) -> Iterator[str]:
    who = "You said" if message["role"] == "assistant" else "The person said"
    for block in _blocks(message):
        match block.get("type"):
            case "text":
                yield f"{who}: {block['text']}"
            case "tool_use":
                yield f"You called {block['name']} with {_cut(str(block['input']))}"
            case "tool_result":
                yield f"It came back{' as an error' if block.get('is_error') else ''}: {_cut(_text(block['content']))}"
            case _:
                pass


def _blocks(message: Message) -> Iterator[Message]:
    content = message["content"]
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, Sequence):
        yield from (block for block in content if isinstance(block, Mapping))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, Mapping) and "text" in part)
    return str(content)


def _cut(text: str) -> str:
    return text if len(text) <= RESULT_TEXT else f"{text[:RESULT_TEXT]} […]"
