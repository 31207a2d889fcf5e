"""A session's events as the blocks that a person reads. Pure: it knows no widget.

A call and its result are one block; a turn that was cut off is taken back; what is being written now is not here.
What a sub-agent does is kept inside the call that began it, as a transcript of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from PySide6.QtCore import QCoreApplication

from agentpane.domain.json import JsonObject
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.ui.parts import figures
from agentpane.ui.parts.plain import one_line
from agentpane.ui.session.session_notes import note_of
from agentpane.ui.session.tool_text import ASKS, DELEGATE, content_text, pictures_in


def tr(text: str) -> str:
    return QCoreApplication.translate("transcript", text)


# States in which nothing of a session goes on.
RESTING = frozenset({"paused", "interrupted", "cancelled", "completed"})


# States in which a call without a result never gets one.
ENDED = frozenset({"interrupted", "cancelled"})


class BlockKind(StrEnum):
    SAID = "said"  # by a person, or in a person's place
    TEXT = "text"
    PRINTED = "printed"  # by a program that is the agent
    THOUGHT = "thought"
    CALL = "call"
    NOTE = "note"
    OUTPUT = "output"
    FAULT = "fault"


@dataclass(slots=True)
class Block:
    """One thing in the transcript. A call's block changes when its result comes."""

    kind: BlockKind
    at: datetime
    turn: int
    text: str = ""
    icon: str = ""
    token: str = "muted"
    # of a call
    call_id: str = ""
    tool: str = ""
    input: JsonObject = field(default_factory=dict)
    result: str | None = None
    blob: str | None = None  # where the whole of a long result is
    failed: bool = False
    denied: str = ""
    started: bool = False
    duration_ms: int | None = None
    discarded: bool = False
    pictures: tuple[tuple[str, bytes], ...] = ()  # media type and content of each
    pictures_blob: str | None = None  # where they are, when they are too large for the event
    part: SubAgent | None = None  # who carries the call out
    who: str = ""  # in whose place it was said; empty: the person said it
    until: datetime | None = None  # of a retry: when it is made, as long as it is waited for
    cut: bool = False  # nobody knows what came of the call
    left: str = ""  # of a turn: the snapshot of what it left, to which the worktree can be set back


@dataclass(slots=True)
class SubAgent:
    """What a sub-agent does, inside the call that began it. above: the sub-agent that made the call, if it was one."""

    run_id: str
    agent: str
    description: str
    call: Block
    above: SubAgent | None
    transcript: Transcript
    resting: bool = False
    turns: int = 0
    requests: int = 0
    unpriced: int = 0
    known_usd: float = 0.0

    @property
    def calls(self) -> int:
        return sum(block.kind is BlockKind.CALL and not block.discarded for block in self.transcript.blocks)

    @property
    def cost_usd(self) -> float | None:
        """What it and its own sub-agents have cost; None when nobody knows all of it."""
        within = [part.cost_usd for part in self.transcript.parts()]
        known = [cost for cost in within if cost is not None]
        if self.unpriced or len(known) < len(within):
            return None
        return self.known_usd + sum(known)

    def words(self) -> str:
        """Who works, in how many turns, with how many calls and at what cost."""
        said = [
            one_line(self.agent),
            figures.plural(self.turns, tr("{0} turn"), tr("{0} turns")),
            figures.plural(self.calls, tr("{0} call"), tr("{0} calls")),
        ]
        if self.requests:
            said.append(figures.money(self.cost_usd))
        return "  ·  ".join(said)


@dataclass(frozen=True, slots=True)
class Question:
    """What the agent wants to know, and the answers that it offers."""

    text: str
    options: tuple[str, ...]


class Transcript:
    """Takes events in order and keeps the blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.last_seq = 0
        self._calls: dict[str, Block] = {}
        self._parts: dict[str, SubAgent] = {}  # by their runs; the session's own transcript has all of the session's
        self._retry: Block | None = None  # the newest try that is waited for
        self.question: Question | None = None  # the newest one that nobody has answered

    def take(self, events: Iterable[SessionEvent]) -> tuple[list[Block], list[Block]]:
        """Take events in. Returns the blocks that are new, and those that have changed."""
        new: list[Block] = []
        changed: list[Block] = []
        for event in events:
            if event.seq <= self.last_seq:
                continue
            self.last_seq = event.seq
            self._ask(event)
            part = self._part_of(event, new)
            if part is not None:
                self._take_within(part, event, changed)
            else:
                self._take_own(event, new, changed)
        return new, [block for block in changed if not any(block is other for other in new)]

    def is_own(self, event: SessionEvent) -> bool:
        """Whether an event is the session's own, not one of a sub-agent that is known."""
        return str(event.run_id) not in self._parts

    def parts(self) -> Iterator[SubAgent]:
        """The sub-agents that calls of this transcript have begun."""
        return (block.part for block in self.blocks if block.part is not None)

    def _take_own(self, event: SessionEvent, new: list[Block], changed: list[Block]) -> None:
        if self._retry is not None:
            self._retry.until = None
            changed.append(self._retry)
            self._retry = None
        block = self._block(event, changed)
        if block is not None:
            self.blocks.append(block)
            new.append(block)
        if block is not None and event.kind is EventKind.RETRY:
            wait = event.data.get("wait_s")
            block.until = event.at + timedelta(seconds=wait) if isinstance(wait, int | float) else None
            self._retry = block
        if event.kind is EventKind.STATE or event.kind is EventKind.ERROR:
            self._rest(event, changed)
        elif event.kind is EventKind.TOOL_RESULT:
            self._correct(event)

    def _take_within(self, part: SubAgent, event: SessionEvent, changed: list[Block]) -> None:
        """Keep an event of a sub-agent in its own transcript; the calls that it lies in have changed with it."""
        if event.kind is EventKind.USAGE:
            cost = event.data.get("cost_usd")
            part.requests += 1
            part.unpriced += not isinstance(cost, int | float)
            part.known_usd += cost if isinstance(cost, int | float) else 0.0
        part.turns += event.kind is EventKind.TURN_FINISHED
        part.transcript._take_own(event, [], [])
        if event.kind is EventKind.TOOL_RESULT:
            self._correct(event)
        part.resting = False
        above: SubAgent | None = part
        while above is not None:
            changed.append(above.call)
            above = above.above

    def _part_of(self, event: SessionEvent, new: list[Block]) -> SubAgent | None:
        """The sub-agent whose event this is. One that begins is put into the call that waits for it."""
        run_id = str(event.run_id)
        if run_id in self._parts or event.kind is not EventKind.STATE or event.data.get("state") != "sub_run":
            return self._parts.get(run_id)
        description = str(event.data.get("description", ""))
        above, call = self._waiting_call(description)
        if call is None:
            call = Block(BlockKind.CALL, event.at, 0, tool=DELEGATE, input={"description": description}, started=True)
            self.blocks.append(call)
            new.append(call)
        agent = str(event.data.get("agent", ""))
        call.part = self._parts[run_id] = SubAgent(run_id, agent, description, call, above, Transcript())
        return call.part

    def _waiting_call(self, description: str) -> tuple[SubAgent | None, Block | None]:
        """The oldest call that a sub-agent of this description may carry out, and whose it is."""
        wanted: list[tuple[SubAgent | None, Block]] = []
        for owner, transcript in ((None, self), *((part, part.transcript) for part in self._parts.values())):
            wanted += [
                (owner, block)
                for block in transcript.blocks
                if block.tool == DELEGATE and block.part is None and block.result is None and not block.discarded
            ]
        exact = [(owner, block) for owner, block in wanted if block.input.get("description") == description]
        started = [(owner, block) for owner, block in exact or wanted if block.started]
        return next(iter(started or exact or wanted), (None, None))

    def _correct(self, event: SessionEvent) -> None:
        """A result names the run that gave it: two calls of one description may have been taken for each other."""
        data = event.data.get("data")
        named = self._parts.get(str(data.get("run_id"))) if isinstance(data, dict) else None
        if named is None or named.call.call_id == event.data.get("call_id"):
            return
        owner = named.above.transcript if named.above is not None else self
        right = owner._calls.get(str(event.data.get("call_id")))
        if right is not None:
            wrong, other = named.call, right.part
            wrong.part, right.part = other, named
            named.call = right
            if other is not None:
                other.call = wrong

    def _rest(self, event: SessionEvent, changed: list[Block]) -> None:
        """Whether the session comes to rest or goes on, and its sub-agents with it."""
        if event.data.get("state") in ENDED:
            for block in self.blocks:
                if block.kind is BlockKind.CALL and block.result is None and block.part is None and not block.denied:
                    block.cut = True
                    changed.append(block)
        resting = event.kind is EventKind.ERROR or event.data.get("state") in RESTING
        if resting:
            for part in self._parts.values():
                part.resting = True
                changed.append(part.call)

    def _ask(self, event: SessionEvent) -> None:
        if event.kind is EventKind.QUESTION:
            options = event.data.get("options")
            offered = tuple(str(one) for one in options) if isinstance(options, list | tuple) else ()
            self.question = Question(str(event.data.get("question", "")), offered)
        elif event.kind is EventKind.ANSWER or (
            event.kind is EventKind.USER_MESSAGE and str(event.run_id) not in self._parts
        ):
            self.question = None

    def _block(self, event: SessionEvent, changed: list[Block]) -> Block | None:
        data = event.data
        match event.kind:
            case EventKind.TEXT:
                kind = BlockKind.PRINTED if data.get("plain") is True else BlockKind.TEXT
                return self._plain(event, kind, str(data.get("text", "")))
            case EventKind.THINKING:
                return self._plain(event, BlockKind.THOUGHT, str(data.get("text", "")))
            case EventKind.USER_MESSAGE | EventKind.ANSWER:
                said = self._plain(event, BlockKind.SAID, str(data.get("text", "")))
                if said is not None:
                    said.who = who_said(data)
                return said
            case EventKind.TOOL_CALL:
                return self._call(event)
            case EventKind.TOOL_RESULT:
                return self._result(event, changed)
            case EventKind.TERMINAL_OUTPUT:
                return self._output(event)
            case EventKind.ERROR:
                text = "\n".join(str(data.get(key, "")) for key in ("message", "hint")).strip()
                return Block(BlockKind.FAULT, event.at, event.turn, text)
            case EventKind.STATE:
                return self._state(event, changed)
            case _:
                return self._note(event)

    def _note(self, event: SessionEvent) -> Block | None:
        call = self._calls.get(str(event.data.get("call_id", "")))
        if call is not None and event.kind is EventKind.QUESTION:
            return None  # the call that asks shows it
        note = note_of(event, call.tool if call is not None else "")
        if note is None:
            return None
        left = str(event.data.get("sha", "")) if event.kind is EventKind.SNAPSHOT and "turn" in event.data else ""
        return Block(BlockKind.NOTE, event.at, event.turn, note.text, note.icon, note.token, left=left)

    def _plain(self, event: SessionEvent, kind: BlockKind, text: str) -> Block | None:
        return Block(kind, event.at, event.turn, text) if text.strip() else None

    def _call(self, event: SessionEvent) -> Block:
        given = event.data.get("input")
        block = Block(
            BlockKind.CALL,
            event.at,
            event.turn,
            call_id=str(event.data.get("call_id", "")),
            tool=str(event.data.get("name", "")),
            input=given if isinstance(given, dict) else {},
        )
        self._calls[block.call_id] = block
        return block

    def _result(self, event: SessionEvent, changed: list[Block]) -> Block | None:
        data = event.data
        block = self._calls.get(str(data.get("call_id", "")))
        if block is None:
            return None
        block.result = content_text(data.get("content"))
        block.failed = data.get("is_error") is True
        block.denied = str(data.get("denied") or "")
        duration = data.get("duration_ms")
        block.duration_ms = duration if isinstance(duration, int) else None
        moved = data.get("blobs")
        where = moved.get("content") if isinstance(moved, dict) else None
        block.blob = str(where["id"]) if isinstance(where, dict) and "id" in where else None
        where = moved.get("images") if isinstance(moved, dict) else None
        block.pictures_blob = str(where["id"]) if isinstance(where, dict) and "id" in where else None
        block.pictures = pictures_in(data.get("images"))
        changed.append(block)
        return None

    def _output(self, event: SessionEvent) -> Block:
        data = event.data
        status = data.get("exit_code")
        block = Block(
            BlockKind.CALL, event.at, event.turn, tool=str(data.get("step", "")).replace("_", " ").capitalize()
        )
        block.input = {"command": data.get("command", "")}
        block.result = content_text(data.get("output"))
        block.failed = status not in (0, None)
        return block

    def _state(self, event: SessionEvent, changed: list[Block]) -> Block | None:
        state = event.data.get("state")
        if state == "tool_started":
            block = self._calls.get(str(event.data.get("call_id", "")))
            if block is not None:
                block.started = True
                changed.append(block)
            return None
        if state == "turn_discarded":
            for block in self.blocks:
                kept = block.kind in {BlockKind.SAID, BlockKind.NOTE}
                if block.turn == event.turn and not kept and not block.discarded:
                    block.discarded = True
                    changed.append(block)
        return self._note(event)


def who_said(data: JsonObject) -> str:
    """In whose place a message to the agent was said; empty for a person's own."""
    places = {"task": tr("The task"), "agent": tr("From the agent that began it"), "engine": tr("From AgentPane")}
    return places.get(str(data.get("from")), "")


def outcome(block: Block) -> tuple[str, str, str]:
    """How a call stands: icon, token, word."""
    if block.denied:
        return "x", "danger", tr("denied")
    if block.result is None and block.part is not None and block.part.resting:
        return "pause", "attention", tr("paused")
    if block.result is None and block.cut:
        return "alert", "attention", tr("cut off")
    if block.result is None and block.tool == ASKS and block.started:
        return "message", "attention", tr("waits for you")
    if block.result is None:
        return ("clock", "accent", tr("running")) if block.started else ("clock", "muted", tr("waiting"))
    took = figures.milliseconds(block.duration_ms) if block.duration_ms is not None else ""
    return ("error", "danger", took or tr("failed")) if block.failed else ("check", "success", took or tr("done"))
