"""Making room in a conversation that has grown too long: the model sums it up, and its newest turns stay."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import BackendEvent, Compacted, Compacting, Host, Usage
from agentpane.orchestrator.backends.messages_api.asking import Asker
from agentpane.orchestrator.backends.messages_api.conversation import Conversation

FULL_SHARE = 0.8  # of the model's window
KEPT_TURNS = 4
KEPT_SHARE = 0.2  # of the conversation's characters, that the kept turns may take
LEAST_FREED = 0.25  # of the conversation's characters; less is not worth a request
CHARACTERS_A_TOKEN = 4
MOST_SQUEEZES = 2  # in a row, for one turn: the second keeps no turn
SUMMARY_TOKENS = 8_000

REQUEST = """\
The conversation has grown too long for your context window and is about to be cut. Write the summary that you will go \
on from; call no tool. You keep the task's own words and your newest turns; everything else is gone but for what you \
write here. Say, with exact paths, names and commands:
- what has been done and decided, and why; what was tried and did not work;
- what you know of the code that matters for the rest: files, functions, conventions, how the tests are run;
- what the person has said since the task was given, in their own words;
- in what state the worktree is, and what remains to be done, the next step first."""

# What is tried in turn: how long texts may be (None: as they are), and settings of the request. The first one begins as
# every request of this run does, so that the server's cache serves it; the others are for when that does not do.
TRIES: tuple[tuple[int | None, Mapping[str, object]], ...] = (
    (None, {}),
    (4_000, {"tool_choice": {"type": "none"}}),
    (400, {"tool_choice": {"type": "none"}}),
)


class Compactor:
    """Watches how full the model's window is, and makes room."""

    def __init__(self, asker: Asker, conversation: Conversation, host: Host) -> None:
        self._asker = asker
        self._conversation = conversation
        self._host = host
        self._squeezes = 0  # since an answer last fitted

    def fitted(self) -> None:
        """A request and its answer have fitted into the window."""
        self._squeezes = 0

    def can_squeeze(self) -> bool:
        return self._squeezes < MOST_SQUEEZES and bool(self._conversation.answers())

    def is_due(self, used: Usage | None, window: int | None) -> bool:
        """Is it time, by what the last request and its answer took, and worth it?"""
        if used is None or window is None:
            return False
        told = self._conversation.newest_size() / CHARACTERS_A_TOKEN
        if used.total_input + used.output + told < FULL_SHARE * window:
            return False
        dropped = sum(one.whole for one in self._conversation.answers())
        kept_from = self._kept_from(KEPT_TURNS)
        dropped -= sum(one.kept for one in self._conversation.answers() if one.turn >= kept_from)
        return dropped >= LEAST_FREED * self._conversation.size()

    async def squeeze(self, turn: int, used: int) -> AsyncGenerator[BackendEvent, None]:
        """Put a summary in the place of the older turns. used: tokens that the conversation holds, as far as known.

        Raises RunPaused from the host, AgentPaneError with BACKEND_CONTEXT_FULL if there is no summary to be had, or
        with the code of another fault that does not pass. The conversation is as it was then.
        """
        self._squeezes += 1
        kept_from = self._kept_from(KEPT_TURNS if self._squeezes == 1 else 0)
        said: list[str] = []
        yield Compacting(turn)
        for limit, settings in TRIES:
            messages = self._conversation.followed_by(REQUEST, limit)
            asked = {"max_tokens": SUMMARY_TOKENS, **settings}
            try:
                async with aclosing(self._asker.summarise(turn, messages, asked, self._host, said)) as events:
                    async for event in events:
                        yield event
            except AgentPaneError as error:
                if error.code is not ErrorCode.BACKEND_CONTEXT_FULL:
                    raise
                continue
            summary = self._summary()
            if summary:
                yield Compacted(turn, summary, kept_from, used)
                self._conversation.compact(summary, kept_from)
                for words in said:
                    self._conversation.say(words)
                return
        raise AgentPaneError(
            ErrorCode.BACKEND_CONTEXT_FULL,
            "The conversation has filled the model's context window, and the model gave no summary to go on from.",
            "Start the card afresh with a narrower task; the worktree keeps what was done.",
        )

    def _summary(self) -> str:
        """The last answer's words, if it is a summary."""
        answer = self._asker.answer
        whole = answer.stop_reason in {"end_turn", "stop_sequence", "max_tokens"} and not answer.calls
        return answer.text.strip() if whole else ""

    def _kept_from(self, most: int) -> int:
        """The oldest turn that stays: so many of the newest as fit into their share."""
        answers = self._conversation.answers()
        room = KEPT_SHARE * self._conversation.size()
        kept_from = answers[-1].turn + 1 if answers else 1
        for one in answers[::-1][:most]:
            room -= one.kept
            if room < 0 or not one.turn:
                break
            kept_from = one.turn
        return kept_from
