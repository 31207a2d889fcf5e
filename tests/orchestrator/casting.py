"""A scripted model that holds several conversations: each is known by the words that it began with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.backends.wire import Answer, Block, Reply, ScriptedServer, say

Turns = Sequence[Sequence[Block] | Reply]


@dataclass(slots=True)
class Cast:
    """parts: the turns of each conversation, by a text that its first message holds.

    `bodies` has each part's requests.
    """

    parts: Mapping[str, Turns]
    bodies: dict[str, list[Mapping[str, object]]] = field(default_factory=dict)

    def server(self) -> ScriptedServer:
        return ScriptedServer(script=self.reply)

    def reply(self, number: int, body: Mapping[str, object]) -> Reply:
        messages = body["messages"]
        assert isinstance(messages, list)
        first = json.dumps(messages[0], ensure_ascii=False)
        name = next(name for name in self.parts if name in first)
        self.bodies.setdefault(name, []).append(body)
        turn = sum(message["role"] == "assistant" for message in messages)
        turns = self.parts[name]
        if turn >= len(turns):
            return Answer([say("There is nothing more to do.")])
        chosen = turns[turn]
        return Answer(chosen) if isinstance(chosen, Sequence) else chosen

    def told(self, name: str, request: int = -1) -> str:
        """The last message of a request, as JSON."""
        messages = self.bodies[name][request]["messages"]
        assert isinstance(messages, list)
        return json.dumps(messages[-1], ensure_ascii=False)
