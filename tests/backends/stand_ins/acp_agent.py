"""An agent that speaks the Agent Client Protocol for real and does what a scenario says, in the place of a model.

    python acp_agent.py SCENARIO.json

A scenario is a JSON object: `prompts` is a list of lists of steps, one list for each prompt of a conversation (the last
one is played again when there are more prompts); `load`, `resume`, `auth` and `modes` say what the agent offers. The
agent keeps its conversations in $HOME, and writes what it was told into `heard.jsonl` there.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from acp import run_agent, schema
from acp.exceptions import RequestError

HOME = Path(os.environ["HOME"])


class StandIn:
    """Plays the scenario's steps; each is a JSON list of a name and its arguments."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self._scenario = scenario
        self._client: Any = None
        self._cwd = ""
        self._session = ""
        self._cancelled = asyncio.Event()
        self._usage: schema.Usage | None = None

    def on_connect(self, conn: Any) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, **more: Any) -> schema.InitializeResponse:
        self._heard("initialize", capabilities=more["client_capabilities"].model_dump(mode="json", by_alias=True))
        sessions = {"resume": {}} if self._scenario.get("resume") else {}
        return schema.InitializeResponse.model_validate(
            {
                "protocolVersion": self._scenario.get("version", protocol_version),
                "agentInfo": {"name": "stand-in", "version": "1"},
                "agentCapabilities": {"loadSession": bool(self._scenario.get("load")), "sessionCapabilities": sessions},
            }
        )

    async def new_session(self, cwd: str, **more: Any) -> schema.NewSessionResponse:
        if self._scenario.get("auth"):
            raise RequestError.auth_required()
        self._cwd = cwd
        self._session = f"session-{len(list(HOME.glob('session-*'))) + 1}"
        (HOME / self._session).write_text("0")
        self._heard("new", cwd=cwd, environment=dict(os.environ))
        return schema.NewSessionResponse.model_validate({"sessionId": self._session, **self._offers()})

    async def load_session(self, cwd: str, session_id: str, **more: Any) -> schema.LoadSessionResponse:
        self._take_up("load", cwd, session_id)
        await self._say("This was said long ago.")
        return schema.LoadSessionResponse.model_validate(self._offers())

    async def resume_session(self, cwd: str, session_id: str, **more: Any) -> schema.ResumeSessionResponse:
        self._take_up("resume", cwd, session_id)
        return schema.ResumeSessionResponse.model_validate(self._offers())

    async def set_session_mode(self, session_id: str, mode_id: str, **more: Any) -> None:
        self._heard("mode", mode=mode_id)

    async def set_config_option(self, config_id: str, session_id: str, value: Any, **more: Any) -> Any:
        self._heard("option", id=config_id, value=value)
        return schema.SetSessionConfigOptionResponse.model_validate({"configOptions": []})

    async def cancel(self, session_id: str, **more: Any) -> None:
        self._heard("cancel")
        self._cancelled.set()

    async def prompt(self, session_id: str, prompt: list[Any], **more: Any) -> schema.PromptResponse:
        self._heard("prompt", text="".join(block.text for block in prompt))
        done = int((HOME / session_id).read_text())
        (HOME / session_id).write_text(str(done + 1))
        prompts = self._scenario["prompts"]
        stop_reason: Any = "end_turn"
        self._usage = None
        for name, *given in prompts[min(done, len(prompts) - 1)]:
            if name == "stop":
                stop_reason = given[0]
                break
            await getattr(self, f"do_{name}")(*given)
        if self._cancelled.is_set():
            stop_reason = "cancelled"
        return schema.PromptResponse(stop_reason=stop_reason, usage=self._usage)

    # Steps

    async def do_say(self, text: str) -> None:
        for start in range(0, len(text), 16):
            await self._say(text[start : start + 16])

    async def do_think(self, text: str) -> None:
        await self._update({"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": text}})

    async def do_update(self, update: dict[str, Any]) -> None:
        await self._update(update)

    async def do_call(self, call_id: str, kind: str, title: str, given: dict[str, Any], options: str = "") -> None:
        """Announce a call, ask for permission if `options` names the kinds of answer, and carry it out if it may."""
        about = {"toolCallId": call_id, "title": title, "kind": kind, "rawInput": given}
        if "path" in given:
            about["locations"] = [{"path": given["path"]}]
        if "content" in given:
            about["content"] = [{"type": "diff", "path": given["path"], "oldText": "", "newText": given["content"]}]
        await self._update({"sessionUpdate": "tool_call", "status": "pending", **about})
        if options and not await self._allowed(about, options.split()):
            await self._progress(call_id, "failed", "not permitted")
            return
        await self._progress(call_id, "in_progress")
        if "really" in given:  # by the client, and perhaps with another content than it has shown
            await self.do_write(given["path"], given["really"])
        await self._progress(call_id, "completed", self._carry_out(kind, given))

    async def do_write(self, path: str, content: str) -> None:
        await self._tried("write", self._client.write_text_file(session_id=self._session, path=path, content=content))

    async def do_read(self, path: str) -> None:
        await self._tried("read", self._client.read_text_file(session_id=self._session, path=path))

    async def do_terminal(self, command: str, *arguments: str) -> None:
        await self.do_terminal_with({}, command, *arguments)

    async def do_terminal_with(self, variables: dict[str, str], command: str, *arguments: str) -> None:
        env = [schema.EnvVariable(name=name, value=value) for name, value in variables.items()]
        made = await self._tried(
            "terminal",
            self._client.create_terminal(session_id=self._session, command=command, args=list(arguments), env=env),
        )
        if made is None:
            return
        name = made.terminal_id
        ended = await self._client.wait_for_terminal_exit(session_id=self._session, terminal_id=name)
        output = await self._client.terminal_output(session_id=self._session, terminal_id=name)
        await self._client.release_terminal(session_id=self._session, terminal_id=name)
        self._heard("terminal", exit_code=ended.exit_code, output=output.output, truncated=output.truncated)

    async def do_kill_terminal(self, command: str) -> None:
        made = await self._client.create_terminal(session_id=self._session, command=command)
        name = made.terminal_id
        await self._client.kill_terminal(session_id=self._session, terminal_id=name)
        output = await self._client.terminal_output(session_id=self._session, terminal_id=name)
        await self._client.release_terminal(session_id=self._session, terminal_id=name)
        self._heard("killed", signal=output.exit_status.signal)

    async def do_ask(self, message: str, options: list[str]) -> None:
        wanted = {
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": options}},
            "required": ["choice"],
        }
        mode = schema.ElicitationFormSessionMode.model_validate({"sessionId": self._session, "requestedSchema": wanted})
        answer = await self._tried("answer", self._client.create_elicitation(message=message, mode=mode))
        if answer is not None:
            self._heard("answer", **answer.model_dump(mode="json", by_alias=True, exclude_none=True))

    async def do_usage(self, given: int, written: int) -> None:
        self._usage = schema.Usage(total_tokens=given + written, input_tokens=given, output_tokens=written)

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
        raise RequestError(code, message)

    # What the steps are made of

    async def _say(self, text: str) -> None:
        await self._update({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})

    async def _update(self, update: dict[str, Any]) -> None:
        parsed = schema.SessionNotification.model_validate({"sessionId": self._session, "update": update})
        await self._client.session_update(session_id=self._session, update=parsed.update)

    async def _progress(self, call_id: str, status: str, text: str | None = None) -> None:
        update: dict[str, Any] = {"sessionUpdate": "tool_call_update", "toolCallId": call_id, "status": status}
        if text is not None:
            update["content"] = [{"type": "content", "content": {"type": "text", "text": text}}]
        await self._update(update)

    async def _allowed(self, about: dict[str, Any], kinds: list[str]) -> bool:
        options = [schema.PermissionOption(option_id=f"o-{kind}", name=kind, kind=kind) for kind in kinds]
        call = schema.ToolCallUpdate.model_validate(about)
        answer = await self._client.request_permission(session_id=self._session, tool_call=call, options=options)
        outcome = answer.outcome
        self._heard("permission", outcome=outcome.outcome, option=getattr(outcome, "option_id", None))
        return outcome.outcome == "selected" and outcome.option_id.startswith("o-allow")

    def _carry_out(self, kind: str, given: dict[str, Any]) -> str:
        place = Path(self._cwd, given.get("path", ""))
        match kind:
            case "edit" if "really" not in given:
                place.write_text(given.get("content", ""))
                return "written"
            case "read":
                return place.read_text()
            case "execute":
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

    async def _tried(self, what: str, asking: Any) -> Any:
        try:
            answer = await asking
        except RequestError as error:
            self._heard(what, error=str(error), data=error.data)
            return None
        if what == "read":
            self._heard(what, content=answer.content)
        return answer

    def _take_up(self, how: str, cwd: str, session_id: str) -> None:
        if not (HOME / session_id).exists():
            raise RequestError.resource_not_found(session_id)
        self._cwd, self._session = cwd, session_id
        self._heard(how, session=session_id)

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
    asyncio.run(run_agent(StandIn(json.loads(Path(sys.argv[1]).read_text())), use_unstable_protocol=True))
