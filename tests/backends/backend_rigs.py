"""The rigs: how a story becomes what each backend hears."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

from agentpane.domain.agents import AgentConfig
from agentpane.errors import ErrorCode
from agentpane.orchestrator.backends.acp import AcpBackend
from agentpane.orchestrator.backends.base import (
    Backend,
    Endpoint,
)
from agentpane.orchestrator.backends.claude_code import ClaudeCodeBackend
from agentpane.orchestrator.backends.command import CommandBackend
from agentpane.orchestrator.backends.messages_api import MessagesApiBackend
from agentpane.orchestrator.backends.recorded import RecordedBackend
from agentpane.orchestrator.backends.recorded.recording import RecordedTurn, Recording
from agentpane.orchestrator.backends.recorded.recording import load as load_recording
from agentpane.orchestrator.backends.recorded.server import RecordedServer
from agentpane.orchestrator.backends.recorded.wire import Request
from agentpane.orchestrator.tools import toolbox
from tests.backends.claude_stand_in import CLAUDE_TOOLS, OWN_BASH, claude_stand_in
from tests.backends.conformance import (
    CRASH,
    STAND_IN,
    Abilities,
    Ask,
    Crash,
    Daemon,
    Garbage,
    Leave,
    Place,
    Say,
    Step,
    Wait,
    daemon,
)
from tests.backends.rig import Hurry, Mark, box
from tests.backends.wire import Answer, Block, Reply, ScriptedServer, Stream, say, use


class AnthropicRig:
    """The in-process harness, and a model on loopback."""

    name = "anthropic"
    abilities = Abilities(crash=ErrorCode.BACKEND_UNAVAILABLE, malformed=ErrorCode.BACKEND_PROTOCOL)

    def __init__(self, place: Place) -> None:
        self._place = place
        self._server: ScriptedServer | None = None

    def prepare(self, story: Sequence[Step]) -> tuple[Backend, dict[str, Any]]:
        self._server = self._place.stack.enter_context(ScriptedServer(list(turns(story))))
        return self.restarted(), {"endpoint": Endpoint(self._server.url, api_key=self._server.key)}

    def restarted(self) -> Backend:
        return MessagesApiBackend(Hurry().patience(tries=2), box(Mark(), *toolbox(("Bash", "AskUser")).values()))

    def told(self) -> str:
        assert self._server is not None
        return json.dumps([seen.messages for seen in self._server.requests])


def turns(story: Sequence[Step]) -> list[Sequence[Block] | Reply]:
    """The story as a model tells it."""
    told: list[Sequence[Block] | Reply] = []
    words: list[Block] = []
    for step in story:
        match step:
            case Say(text):
                words.append(say(text))
                continue
            case Leave(line):
                told.append([*words, use("Mark", line=line)])
            case Ask(question, options):
                told.append([*words, use("AskUser", question=question, options=list(options))])
            case Daemon(token):
                told.append([*words, use("Bash", command=daemon(token))])
            case Wait(token):
                told.append([*words, use("Bash", command=f"sleep 600.{token}")])
            case Crash():
                told.append(Stream(Answer(words or [say("I am")]).events()[0], "cut"))
            case Garbage():
                told.append(Stream(b"event: message_start\ndata: {not json\n\n"))
        words = []
    return [*told, words] if words else told


class RecordedRig:
    """The in-process harness, and a server that plays recordings, which cannot find another way than theirs."""

    name = "recorded"
    abilities = Abilities(goes_on_after_denial=False, crash=ErrorCode.BACKEND_UNAVAILABLE)

    def __init__(self, place: Place) -> None:
        self._file = place.folder / "recording.json"
        self._heard: list[str] = []
        made = partial(Overheard, self._heard)
        place.stack.enter_context(patch("agentpane.orchestrator.backends.recorded.backend.RecordedServer", made))

    def prepare(self, story: Sequence[Step]) -> tuple[Backend, dict[str, Any]]:
        told: list[object] = []
        words = ""
        for step in story:
            match step:
                case Say(text):
                    words += text
                    continue
                case Leave(line):
                    calls = [recorded("Mark", f"wrote {line}", line=line)]
                case Ask(question, options):
                    answer = f"The person answers: {options[-1]}"
                    calls = [recorded("AskUser", answer, question=question, options=list(options))]
                case Daemon(token):
                    calls = [recorded("Bash", "(no output)", command=daemon(token))]
                case Wait(token):
                    calls = [recorded("Bash", "never", command=f"sleep 600.{token}")]
                case Crash():
                    words, calls = CRASH, []
                case Garbage():
                    told.append("no turn")
                    continue
            told.append({"text": words, "calls": calls})
            words = ""
        told += [{"text": words}, {"text": "As you say.", "after_person": True}]
        self._file.write_text(json.dumps({"turns": told}))
        return self.restarted(), {}

    def restarted(self) -> Backend:
        tools = box(Mark(), *toolbox(("Bash", "AskUser")).values())
        return RecordedBackend(
            0, lambda: [load_recording(self._file, "k", "Do the work")], Hurry().patience(tries=2), tools
        )

    def told(self) -> str:
        return "\n".join(self._heard)


def recorded(name: str, result: str, **given: object) -> dict[str, object]:
    return {"name": name, "input": given, "result": {"content": result, "is_error": False}}


class Overheard(RecordedServer):
    """A server of recordings that notes what it is told, and is gone in the middle of the words of `CRASH`."""

    def __init__(self, heard: list[str], recordings: Sequence[Recording], pace_s: float) -> None:
        super().__init__(recordings, pace_s)
        self._heard = heard

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self._heard.append(request.body.decode())
        await super()._answer(request, writer)

    async def _play(self, turn: RecordedTurn | None, asked: int, writer: asyncio.StreamWriter) -> None:
        if turn is not None and turn.text == CRASH and self._server is not None:
            self._server.close()
            raise ConnectionResetError
        await super()._play(turn, asked, writer)


class AcpRig:
    """A stand-in that speaks the Agent Client Protocol for real, in the sandbox."""

    name = "acp"
    abilities = Abilities()

    def __init__(self, place: Place) -> None:
        self._place = place

    def prepare(self, story: Sequence[Step]) -> tuple[Backend, dict[str, Any]]:
        marks = str(self._place.worktree / "marks.txt")
        steps: list[list[Any]] = []
        for number, step in enumerate(story):
            match step:
                case Say(text):
                    steps.append(["say", text])
                case Leave(line):
                    given = {"path": marks, "content": f"{line}\n"}
                    steps.append(
                        ["call", f"c{number}", "edit", "Leave a mark", given, "allow_always allow_once reject_once"]
                    )
                case Ask(question, options):
                    steps.append(["ask", question, list(options)])
                case Daemon(token):
                    steps.append(["call", f"c{number}", "execute", "Leave", {"command": daemon(token)}, "allow_once"])
                case Wait(token):
                    given = {"command": f"sleep 600.{token}"}
                    steps.append(["call", f"c{number}", "execute", "Wait", given, "allow_once reject_once"])
                case Crash():
                    steps.append(["crash", 3])
                case Garbage():
                    steps.append(["garbage", "{not json"])
        return self.restarted(), self.scenario(
            {"prompts": [[*steps, ["usage", 100, 20]], [["say", "As you say."]]], "load": True}
        )

    def restarted(self) -> Backend:
        return AcpBackend()

    def scenario(self, scenario: dict[str, Any]) -> dict[str, Any]:
        """What a brief needs to play a scenario of the stand-in."""
        file = self._place.folder / "story"
        file.write_text(json.dumps(scenario))
        command = f"exec {shlex.join([sys.executable, str(STAND_IN), str(file)])}"
        return {"agent": AgentConfig(command=command)}

    def heard(self, what: str) -> list[dict[str, Any]]:
        lines = (self._place.state / "home" / "heard.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["what"] == what]

    def told(self) -> str:
        return "\n".join(event["text"] for event in self.heard("prompt"))


class CommandRig:
    """A shell script. It has no tools and asks nobody; what it prints is text, whatever it is."""

    name = "command"
    abilities = Abilities(tools=False, asks=False, goes_on_after_denial=False, usage=False, malformed=None)

    def __init__(self, place: Place) -> None:
        self._place = place

    def prepare(self, story: Sequence[Step]) -> tuple[Backend, dict[str, Any]]:
        lines = ["cat > told.txt"]
        for step in story:
            match step:
                case Say(text):
                    lines.append(f"printf '%s\\n' {shlex.quote(text)}")
                case Leave(line):
                    lines.append(f"printf '%s\\n' {shlex.quote(line)} >> marks.txt")
                case Daemon(token):
                    lines.append(daemon(token))
                case Wait(token):
                    lines.append(f"sleep 600.{token}")
                case Crash():
                    lines.append("kill -KILL $$")
                case Garbage():
                    lines.append("printf '\\377\\376\\033[31mred\\033[0m\\n'")
                case Ask():
                    lines.append("read -r answer || echo nobody answers")  # its input has ended
        return self.restarted(), {"agent": AgentConfig(command="\n".join(lines))}

    def restarted(self) -> Backend:
        return CommandBackend()

    def told(self) -> str:
        return (self._place.worktree / "told.txt").read_text()


class ClaudeCodeRig:
    """A stand-in for Claude Code that speaks its control protocol, in the sandbox."""

    name = "claude-code"
    abilities = Abilities()

    def __init__(self, place: Place) -> None:
        self._place = place

    def prepare(self, story: Sequence[Step]) -> tuple[Backend, dict[str, Any]]:
        told: list[Any] = []
        words: list[Block] = []
        marks = str(self._place.worktree / "marks.txt")
        for step in story:
            match step:
                case Say(text):
                    words.append(say(text))
                    continue
                case Leave(line):
                    told.append([*words, use("Write", file_path=marks, content=f"{line}\n")])
                case Ask(question, options):
                    choices = [{"label": option, "description": option} for option in options]
                    asked = {"question": question, "header": "Choice", "options": choices, "multiSelect": False}
                    told.append([*words, use("AskUserQuestion", questions=[asked])])
                case Daemon(token):
                    told.append([*words, use(OWN_BASH, command=daemon(token))])
                case Wait(token):
                    told.append([*words, use(OWN_BASH, command=f"sleep 600.{token}")])
                case Crash():
                    told.append({"die": 3, "words": "out of luck"})
                case Garbage():
                    told.append({"raw": "{not json"})
            words = []
        turns = [*told, words] if words else told
        self._place.stack.enter_context(claude_stand_in(self._place.folder / "bin", {"turns": turns}))
        return self.restarted(), {"tools": CLAUDE_TOOLS, "endpoint": Endpoint(None, api_key="test-key")}

    def restarted(self) -> Backend:
        return ClaudeCodeBackend()

    def told(self) -> str:
        return (self._place.state / "heard.jsonl").read_text()


# A rig for each backend that the suite holds to its word.
RIGS: tuple[type[AnthropicRig] | type[RecordedRig] | type[AcpRig] | type[CommandRig] | type[ClaudeCodeRig], ...] = (
    AnthropicRig,
    RecordedRig,
    AcpRig,
    CommandRig,
    ClaudeCodeRig,
)
