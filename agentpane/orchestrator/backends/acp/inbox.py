"""What the program sends, in the order in which it came: updates, and requests that wait for an answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends.acp.channel import protocol_fault
from agentpane.orchestrator.backends.acp.library import UPDATE, Library

# Kinds of update that must be readable. Others, of a newer protocol perhaps, are passed over.
KINDS = frozenset({"agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the program. It waits until `answer` has a result or an exception."""

    method: str
    params: Any  # the parsed model of its method
    answer: asyncio.Future[Any]


class Inbox:
    """Handles the connection's messages. While a conversation is loaded, what is told of its past is left out.

    immediate: requests that are answered at once, whatever else waits.
    items: models of updates, Requests, events, and an AgentPaneError for a message that cannot be read.
    """

    def __init__(
        self, library: Library, immediate: Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Any]]]
    ) -> None:
        self.items: deque[Any] = deque()
        self._news = asyncio.Event()
        self.open = False
        self._library = library
        self._immediate = immediate
        self._waiting: set[asyncio.Future[Any]] = set()

    def put(self, item: Any) -> None:
        self.items.append(item)
        self._news.set()

    async def coming(self) -> None:
        """Wait until there is something."""
        while not self.items:
            self._news.clear()
            await self._news.wait()

    async def handle(self, method: str, params: Any, is_notification: bool) -> Any:
        """The connection's handler. It puts what came in its place before it waits for anything."""
        if method == UPDATE:
            self._take_update(params)
            return None
        if method in self._immediate:
            return await self._immediate[method](params if isinstance(params, Mapping) else {})
        adapter = self._library.requests.get(method)
        if adapter is None:
            if is_notification:
                return None
            raise self._library.error.method_not_found(method)
        request = Request(method, adapter.validate_python(params), asyncio.get_running_loop().create_future())
        self.put(request)
        self._waiting.add(request.answer)
        try:
            return await request.answer
        finally:
            self._waiting.discard(request.answer)

    def refuse_all(self, error: Exception) -> None:
        """Answer whatever still waits: the conversation is over."""
        for waiting in tuple(self._waiting):
            if not waiting.done():
                waiting.set_exception(error)

    def _take_update(self, params: Any) -> None:
        if not self.open:
            return
        try:
            self.put(self._library.update.validate_python(params).update)
        except ValidationError as error:
            if _must_be_readable(params):
                self.put(malformed(error))


def malformed(error: ValidationError) -> AgentPaneError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return protocol_fault(f"A message of it is malformed: {where}: {first['msg']}.")


def _must_be_readable(params: Any) -> bool:
    update = params.get("update") if isinstance(params, Mapping) else None
    return not isinstance(update, Mapping) or update.get("sessionUpdate") in KINDS
