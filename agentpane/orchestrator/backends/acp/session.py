"""The started program and its conversation with us: opened, taken up again, prompted, cancelled, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agentpane import __version__
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.acp.channel import Channel, Complaints, protocol_fault
from agentpane.orchestrator.backends.acp.inbox import Inbox, malformed
from agentpane.orchestrator.backends.acp.launching import Program
from agentpane.orchestrator.backends.acp.library import Library
from agentpane.sandbox import Process

START_S = 90.0  # a program may have to unpack itself first
LAST_WORDS_S = 2.0
FAREWELL_S = 2.0  # to put its conversation away after it has been cancelled
AUTH_REQUIRED = -32000
NOT_THE_PROTOCOL = frozenset({-32700, -32600, -32601, -32602})
WORDS = 600

M = TypeVar("M", bound=BaseModel)


class Session:
    """One program. `close` ends it and all that it started; until then it may be at work."""

    def __init__(self, process: Process, program: Program, library: Library, inbox: Inbox) -> None:
        self.id = ""
        self.can_load = False
        self.can_resume = False
        self.agent = program.title
        self.modes: Any = None
        self.first_mode = ""
        self.options: list[Any] = []
        self._process = process
        self._program = program
        self._library = library
        self._inbox = inbox
        self._channel = Channel(process)
        self._complaints = Complaints(process)
        self._connection = library.connection(inbox.handle, self._channel)
        self._exit = asyncio.create_task(process.wait(), name="acp-exit")

    async def start(self) -> None:
        """Agree on the protocol. Raises AgentPaneError."""
        schema = self._library.schema
        wanted = schema.InitializeRequest(
            protocol_version=self._library.version,
            client_info=schema.Implementation(name="agentpane", title="AgentPane", version=__version__),
            client_capabilities=schema.ClientCapabilities(
                fs=schema.FileSystemCapabilities(read_text_file=True, write_text_file=True),
                terminal=True,
                elicitation=schema.ElicitationCapabilities(form=schema.ElicitationFormCapabilities()),
            ),
        )
        try:
            async with asyncio.timeout(START_S):
                answer = await self._ask("initialize", wanted, schema.InitializeResponse)
        except TimeoutError as error:
            raise AgentPaneError(
                ErrorCode.BACKEND_UNAVAILABLE,
                f"{self._program.title} has not answered for {START_S:.0f} s after its start.",
                "Try the program in a terminal, then resume. Nothing was lost.",
            ) from error
        if answer.protocol_version != self._library.version:
            raise protocol_fault(f"It speaks version {answer.protocol_version}; only {self._library.version} is known.")
        capabilities = answer.agent_capabilities
        self.can_load = bool(capabilities and capabilities.load_session)
        sessions = capabilities.session_capabilities if capabilities else None
        self.can_resume = isinstance(sessions, BaseModel) and getattr(sessions, "resume", None) is not None
        if answer.agent_info is not None:
            self.agent = answer.agent_info.title or answer.agent_info.name

    async def open(self, cwd: str) -> str:
        """Begin a conversation; its name."""
        schema = self._library.schema
        wanted = schema.NewSessionRequest(cwd=cwd, mcp_servers=[])
        answer = await self._ask("session/new", wanted, schema.NewSessionResponse)
        self._settled(answer.session_id, answer)
        return self.id

    async def take_up(self, cwd: str, name: str) -> bool:
        """Go on with a conversation of before. False if the program cannot, or does not know it any more."""
        if not (self.can_load or self.can_resume):
            return False
        schema = self._library.schema
        method = "session/resume" if self.can_resume else "session/load"
        request = schema.ResumeSessionRequest if self.can_resume else schema.LoadSessionRequest
        response = schema.ResumeSessionResponse if self.can_resume else schema.LoadSessionResponse
        try:
            answer = await self._ask(method, request(cwd=cwd, session_id=name, mcp_servers=[]), response)
        except AgentPaneError as error:
            if error.details.get("rpc_code") in (None, AUTH_REQUIRED):
                raise
            return False
        self._settled(name, answer)
        return True

    async def choose_mode(self, *modes: str) -> None:
        """Set the first of these modes that the program offers, if it offers any and is not in it."""
        schema = self._library.schema
        offered = {mode.id for mode in self.modes.available_modes} if self.modes else set()
        for mode in modes:
            if mode in offered:
                if mode == self.first_mode:
                    return
                wanted = schema.SetSessionModeRequest(session_id=self.id, mode_id=mode)
                await self._ask("session/set_mode", wanted, schema.SetSessionModeResponse)
                return

    async def choose_model(self, model: str | None) -> None:
        """Set the model where the program lets it be chosen."""
        schema = self._library.schema
        option = self._model_option()
        if model is None or option is None or option.current_value == model:
            return
        wanted = schema.SetSessionConfigOptionSelectRequest(
            session_id=self.id, config_id=option.id, value=model, type="select"
        )
        await self._ask("session/set_config_option", wanted, schema.SetSessionConfigOptionResponse)

    def model(self) -> str:
        """Which model it says that it uses; its own name where it says nothing."""
        option = self._model_option()
        return str(option.current_value) if option is not None else self.agent

    def prompt(self, text: str) -> Awaitable[Any]:
        """Say something; what comes back comes when the program has done what it could about it."""
        schema = self._library.schema
        block = schema.TextContentBlock(type="text", text=text)
        return self._ask(
            "session/prompt", schema.PromptRequest(session_id=self.id, prompt=[block]), schema.PromptResponse
        )

    async def cancel(self, prompting: asyncio.Task[Any]) -> None:
        """Ask the program to stop, and give it a moment to put its conversation away."""
        self._inbox.refuse_all(self._library.error.internal_error({"details": "The run was stopped."}))
        with suppress(ConnectionError, OSError):
            await self._connection.send_notification("session/cancel", {"sessionId": self.id})
            await asyncio.wait([prompting], timeout=FAREWELL_S)

    async def close(self) -> None:
        """End the program and everything that it has started."""
        try:
            await self._process.end()
        finally:
            self._exit.cancel()
            await self._connection.close()
            await self._complaints.end()
            await asyncio.gather(self._exit, return_exceptions=True)

    async def _ask(self, method: str, request: BaseModel, response: type[M]) -> M:
        sending = asyncio.ensure_future(
            self._connection.send_request(
                method, request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
            )
        )
        try:
            await asyncio.wait([sending, self._exit], return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():  # what it said last may still be on its way
                await asyncio.wait([sending], timeout=LAST_WORDS_S)
            if not sending.done():
                raise await self._broken()
            return response.model_validate(sending.result() or {})
        except self._library.error as error:
            raise self._told(error) from error
        except ValidationError as error:
            raise malformed(error) from error
        except (ConnectionError, OSError) as error:
            raise await self._broken() from error
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _broken(self) -> AgentPaneError:
        """Why there is no conversation any more."""
        if self._channel.fault is not None:
            return self._channel.fault
        await asyncio.wait([self._exit], timeout=LAST_WORDS_S)
        code = self._exit.result() if self._exit.done() and not self._exit.cancelled() else None
        said = await self._complaints.text(LAST_WORDS_S)
        ended = f"ended with exit code {code}" if code is not None else "closed its output"
        return AgentPaneError(
            ErrorCode.AGENT_EXECUTION_ERROR,
            f"{self._program.title} {ended} in the middle of the work."
            + (f" It said: {said[-WORDS:]}" if said else ""),
            "What it changed is kept in the worktree. Resume to go on from the last turn.",
            {"exit_code": code, "stderr": said},
        )

    def _told(self, error: Any) -> AgentPaneError:
        """The program's own error, for a person."""
        words = _words(error)
        title = self._program.title
        if error.code == AUTH_REQUIRED:
            preset = self._program.preset
            how = preset.sign_in_hint if preset else "Sign in with the program itself."
            hint = f"{how} Then resume the run."
            return AgentPaneError(
                ErrorCode.BACKEND_AUTH, f"{title} is not signed in: {words}", hint, {"rpc_code": error.code}
            )
        if error.code in NOT_THE_PROTOCOL:
            fault = protocol_fault(f"It refused a request: {words}")
            fault.details["rpc_code"] = error.code
            return fault
        return AgentPaneError(
            ErrorCode.AGENT_EXECUTION_ERROR,
            f"{title} reports an error: {words}",
            "What it changed is kept in the worktree. Resume to go on from the last turn.",
            {"rpc_code": error.code},
        )

    def _settled(self, name: str, answer: Any) -> None:
        self.id = name
        self.modes = answer.modes
        self.first_mode = answer.modes.current_mode_id if answer.modes else ""
        self.options = list(answer.config_options or ())
        self._inbox.open = True

    def _model_option(self) -> Any:
        found = (one for one in self.options if one.category == "model" and one.type == "select")
        return next(found, None)


def _words(error: Any) -> str:
    data = error.data
    more = data.get("details") or data.get("message") if isinstance(data, Mapping) else data
    return f"{error}: {more}"[:WORDS] if more and str(more) != str(error) else str(error)[:WORDS]
