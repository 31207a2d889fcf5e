"""What a session's events only refer to, read when it is asked for: long outputs and pictures."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

from PySide6.QtCore import QCoreApplication

from agentpane.api import commands
from agentpane.ui.desk.desk import Desk
from agentpane.ui.session.pictures import PictureView, read_picture
from agentpane.ui.session.session_blocks import CallBlock
from agentpane.ui.session.tool_text import pictures_in
from agentpane.ui.session.transcript import Block

MOST_PICTURE = 32 << 20  # bytes of a result's pictures that are read


def tr(text: str) -> str:
    return QCoreApplication.translate("session", text)


class WholeReader:
    """task_id: of the task that is shown; what was read for another is not shown any more."""

    def __init__(self, desk: Desk, task_id: Callable[[], str]) -> None:
        self._desk, self._task_id = desk, task_id

    def output(self, block: Block, widget: CallBlock) -> None:
        self._desk.jobs.start(self._output(block, widget), tr("Reading the output"))

    def pictures(self, block: Block, widget: CallBlock) -> None:
        self._desk.jobs.start(self._pictures(block, widget), tr("Reading the picture"))

    def open(self, picture: PictureView) -> None:
        self._desk.jobs.start(self._open(picture), tr("Opening the picture"))

    async def _open(self, picture: PictureView) -> None:
        found = await asyncio.to_thread(read_picture, picture.content, picture.media_type)
        with contextlib.suppress(RuntimeError):  # its block has gone meanwhile
            picture.show_picture(found)

    async def _output(self, block: Block, widget: CallBlock) -> None:
        task_id = self._task_id()
        chunk = await self._desk.link.do(commands.ReadOutput(task_id, block.blob or ""))
        if task_id == self._task_id():
            widget.show_output(chunk.data.decode("utf-8", "replace"))

    async def _pictures(self, block: Block, widget: CallBlock) -> None:
        task_id, parts = self._task_id(), list[bytes]()
        offset: int | None = 0
        while offset is not None and offset < MOST_PICTURE:
            chunk = await self._desk.link.do(commands.ReadOutput(task_id, block.pictures_blob or "", offset))
            parts.append(chunk.data)
            offset = chunk.next_offset
        block.pictures = await asyncio.to_thread(_pictures_of, b"".join(parts))
        if task_id == self._task_id():
            widget.show_pictures()


def _pictures_of(stored: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        return pictures_in(json.loads(stored))
    except ValueError:
        return ()
