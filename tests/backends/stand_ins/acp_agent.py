"""An agent that speaks the Agent Client Protocol and does what a scenario says, in the place of a model.

    python acp_agent.py SCENARIO.json

A scenario is a JSON object: `prompts` is a list of lists of steps, one list for each prompt of a conversation (the last
one is played again when there are more prompts); `load`, `resume`, `auth` and `modes` say what the agent offers. The
agent keeps its conversations in $HOME, and writes what it was told into `heard.jsonl` there, each message whole into
`wire.jsonl`. It speaks the protocol in plain JSON, for the protocol's library takes a second to import; what it says is
read with that library by the client, and what it hears is in the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable
from itertools import count
from pathlib import Path
from typing import Any

HOME = Path(os.environ["HOME"])
LONGEST_LINE = 64 * 1024 * 1024
AUTH_REQUIRED, NOT_FOUND, NO_METHOD = -32000, -32002, -32601

Json = dict[str, Any]


class Refused(Exception):
    """An error of the protocol, as it was said or is to be said."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Line:
    """JSON-RPC on the standard streams, a message a line."""

    def __init__(self, agent: StandIn) -> None:
        self._agent = agent
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        reader = asyncio.StreamReader(LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            with (HOME / "wire.jsonl").open("ab") as file:
                file.write(line)
            self._take(json.loads(line))

    def notify(self, method: str, params: Json) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def ask(self, method: str, params: Json) -> Any:
        """The client's answer. Raises Refused."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return await answer

    def _take(self, message: Json) -> None:
        if "method" in message:
            job = asyncio.create_task(self._answer(message))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)
        elif "error" in message:
            error = message["error"]
            self._waiting.pop(message["id"]).set_exception(Refused(error["code"], error["message"], error.get("data")))
        else:
            self._waiting.pop(message["id"]).set_result(message.get("result"))

    async def _answer(self, message: Json) -> None:
        try:
            answer = await self._agent.do(message["method"], message.get("params") or {})
            told: Json = {"result": answer or {}}
        except Refused as error:
            told = {"error": {"code": error.code, "message": str(error), "data": error.data}}
        if "id" in message:
            self._send({"jsonrpc": "2.0", "id": message["id"], **told})

    def _send(self, message: Json) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


class StandIn:
    """Plays the scenario's steps; each is a JSON list of a name and its arguments."""

    def __init__(self, scenario: Json) -> None:
        self._scenario = scenario
        self._line = Line(self)
        self._cwd = ""
        self._session = ""
        self._cancelled = asyncio.Event()
        self._usage: Json | None = None
        self._methods = {
            "initialize": self.initialize,
            "session/new": self.new_session,
            "session/load": self.load_session,
            "session/resume": self.resume_session,
            "session/set_mode": self.set_mode,
            "session/set_config_option": self.set_option,
            "session/cancel": self.cancel,
            "session/prompt": self.prompt,
        }

    async def run(self) -> None:
        await self._line.run()

    async def do(self, method: str, params: Json) -> Json | None:
        if method not in self._methods:
            raise Refused(NO_METHOD, f"there is no {method}")
        return await self._methods[method](params)

    async def initialize(self, params: Json) -> Json:
        sessions = {"resume": {}} if self._scenario.get("resume") else {}
        return {
            "protocolVersion": self._scenario.get("version", params["protocolVersion"]),
            "agentInfo": {"name": "stand-in", "version": "1"},
            "agentCapabilities": {"loadSession": bool(self._scenario.get("load")), "sessionCapabilities": sessions},
        }

    async def new_session(self, params: Json) -> Json:
        if self._scenario.get("auth"):
            raise Refused(AUTH_REQUIRED, "Authentication required")
        self._cwd = params["cwd"]
        self._session = f"session-{len(list(HOME.glob('session-*'))) + 1}"
        (HOME / self._session).write_text("0")
        self._heard("new", cwd=self._cwd, environment=dict(os.environ))
        return {"sessionId": self._session, **self._offers()}

    async def load_session(self, params: Json) -> Json:
        self._take_up("load", params)
        self._say("This was said long ago.")
        return self._offers()

    async def resume_session(self, params: Json) -> Json:
        self._take_up("resume", params)
        return self._offers()

    async def set_mode(self, params: Json) -> None:
        self._heard("mode", mode=params["modeId"])

    async def set_option(self, params: Json) -> Json:
        self._heard("option", id=params["configId"], value=params["value"])
        return {"configOptions": []}

    async def cancel(self, params: Json) -> None:
        self._heard("cancel")
        self._cancelled.set()

    async def prompt(self, params: Json) -> Json:
        self._heard("prompt", text="".join(block["text"] for block in params["prompt"]))
        file = HOME / params["sessionId"]
        done = int(file.read_text())
        file.write_text(str(done + 1))
        prompts = self._scenario["prompts"]
        stop_reason = "end_turn"
        self._usage = None
        for name, *given in prompts[min(done, len(prompts) - 1)]:
            if name == "stop":
                stop_reason = given[0]
                break
            await getattr(self, f"do_{name}")(*given)
        if self._cancelled.is_set():
            stop_reason = "cancelled"
        return {"stopReason": stop_reason, **({"usage": self._usage} if self._usage else {})}

    # Steps

    async def do_say(self, text: str) -> None:
        for start in range(0, len(text), 16):
            self._say(text[start : start + 16])

    async def do_think(self, text: str) -> None:
        self._update({"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": text}})

    async def do_update(self, update: Json) -> None:
        self._update(update)

    async def do_call(self, call_id: str, kind: str, title: str, given: Json, options: str = "") -> None:
        """Announce a call, ask for permission if `options` names the kinds of answer, and carry it out if it may."""
        about: Json = {"toolCallId": call_id, "title": title, "kind": kind, "rawInput": given}
        if "path" in given:
            about["locations"] = [{"path": given["path"]}]
        if "content" in given:
            about["content"] = [{"type": "diff", "path": given["path"], "oldText": "", "newText": given["content"]}]
        self._update({"sessionUpdate": "tool_call", "status": "pending", **about})
        if options and not await self._allowed(about, options.split()):
            self._progress(call_id, "failed", "not permitted")
            return
        self._progress(call_id, "in_progress")
        if "terminal" in given:  # by the client, and perhaps elsewhere and with other variables than it has shown
            await self.do_terminal_in(*given["terminal"])
        if "really" in given:  # by the client, and perhaps with another content than it has shown
            await self.do_write(given["path"], given["really"])
        self._progress(call_id, "completed", self._carry_out(kind, given))

    async def do_write(self, path: str, content: str) -> None:
        await self._tried("write", self._ask("fs/write_text_file", path=path, content=content))

    async def do_read(self, path: str) -> None:
        await self._tried("read", self._ask("fs/read_text_file", path=path))

    async def do_terminal(self, command: str, *arguments: str) -> None:
        await self.do_terminal_with({}, command, *arguments)

    async def do_terminal_with(self, variables: dict[str, str], command: str, *arguments: str) -> None:
        await self.do_terminal_in(None, variables, command, *arguments)

    async def do_terminal_in(self, cwd: str | None, variables: dict[str, str], command: str, *arguments: str) -> None:
        env = [{"name": name, "value": value} for name, value in variables.items()]
        where = {"cwd": cwd} if cwd else {}
        asking = self._ask("terminal/create", command=command, args=list(arguments), env=env, **where)
        made = await self._tried("terminal", asking)
        if made is None:
            return
        name = made["terminalId"]
        ended = await self._ask("terminal/wait_for_exit", terminalId=name)
        output = await self._ask("terminal/output", terminalId=name)
        await self._ask("terminal/release", terminalId=name)
        self._heard("terminal", exit_code=ended.get("exitCode"), output=output["output"], truncated=output["truncated"])

    async def do_kill_terminal(self, command: str) -> None:
        name = (await self._ask("terminal/create", command=command))["terminalId"]
        await self._ask("terminal/kill", terminalId=name)
        output = await self._ask("terminal/output", terminalId=name)
        await self._ask("terminal/release", terminalId=name)
        self._heard("killed", signal=output["exitStatus"]["signal"])

    async def do_ask(self, message: str, options: list[str]) -> None:
        wanted = {
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": options}},
            "required": ["choice"],
        }
        asking = self._ask("elicitation/create", message=message, mode="form", requestedSchema=wanted)
        answer = await self._tried("answer", asking)
        if answer is not None:
            self._heard("answer", **answer)

    async def do_usage(self, given: int, written: int) -> None:
        self._usage = {"totalTokens": given + written, "inputTokens": given, "outputTokens": written}

    async def do_child(self) -> None:
        """Leave a process behind that calls itself nobody's and ignores being asked to end."""
        script = "import os,signal,time; os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: ASYNC220

    async def do_wait(self) -> None:
        """Work until the prompt is cancelled."""
        await self._cancelled.wait()

    async def do_hang(self) -> None:
        await asyncio.Event().wait()

    async def do_crash(self, code: int) -> None:
        sys.stderr.write("I have lost the thread.\n")
        sys.stderr.flush()
        os._exit(code)

    async def do_garbage(self, text: str) -> None:
        os.write(1, text.encode() + b"\n")

    async def do_fail(self, code: int, message: str) -> None:
        raise Refused(code, message)

    # What the steps are made of

    def _say(self, text: str) -> None:
        self._update({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})

    def _update(self, update: Json) -> None:
        self._line.notify("session/update", {"sessionId": self._session, "update": update})

    def _progress(self, call_id: str, status: str, text: str | None = None) -> None:
        update: Json = {"sessionUpdate": "tool_call_update", "toolCallId": call_id, "status": status}
        if text is not None:
            update["content"] = [{"type": "content", "content": {"type": "text", "text": text}}]
        self._update(update)

    async def _ask(self, method: str, **params: Any) -> Any:
        return await self._line.ask(method, {"sessionId": self._session, **params})

    async def _allowed(self, about: Json, kinds: list[str]) -> bool:
        options = [{"optionId": f"o-{kind}", "name": kind, "kind": kind} for kind in kinds]
        answer = await self._ask("session/request_permission", toolCall=about, options=options)
        outcome = answer["outcome"]
        self._heard("permission", outcome=outcome["outcome"], option=outcome.get("optionId"))
        return outcome["outcome"] == "selected" and outcome["optionId"].startswith("o-allow")

    def _carry_out(self, kind: str, given: dict[str, Any]) -> str:
        place = Path(self._cwd, given.get("path", ""))
        match kind:
            case "edit" if "really" not in given:
                place.write_text(given.get("content", ""))
                return "written"
            case "read":
                return place.read_text()
            case "execute" if "terminal" not in given:
                command = given["command"]
                return subprocess.run(
                    command if isinstance(command, list) else ["sh", "-c", command],
                    cwd=self._cwd,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                ).stdout
            case _:
                return "done"

    async def _tried(self, what: str, asking: Awaitable[Any]) -> Any:
        try:
            answer = await asking
        except Refused as error:
            self._heard(what, error=str(error), data=error.data)
            return None
        if what == "read":
            self._heard(what, content=answer["content"])
        return answer

    def _take_up(self, how: str, params: Json) -> None:
        name = params["sessionId"]
        if not (HOME / name).exists():
            raise Refused(NOT_FOUND, "Resource not found", {"uri": name})
        self._cwd, self._session = params["cwd"], name
        self._heard(how, session=name)

    def _offers(self) -> dict[str, Any]:
        offers: dict[str, Any] = {}
        if modes := self._scenario.get("modes"):
            listed = [{"id": mode, "name": mode} for mode in modes]
            offers["modes"] = {"currentModeId": modes[0], "availableModes": listed}
        if models := self._scenario.get("models"):
            listed = [{"value": model, "name": model} for model in models]
            option = {"id": "model", "name": "Model", "category": "model", "type": "select", "options": listed}
            offers["configOptions"] = [{**option, "currentValue": models[0]}]
        return offers

    def _heard(self, what: str, **more: Any) -> None:
        with (HOME / "heard.jsonl").open("a") as file:
            file.write(json.dumps({"what": what, **more}) + "\n")


if __name__ == "__main__":
    asyncio.run(StandIn(json.loads(Path(sys.argv[1]).read_text())).run())
