"""Read: what is no plain text, and outputs of which a result showed only a part."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.tools import FileMemory, ToolContext
from agentpane.orchestrator.tools.pictures import MAX_BYTES

from .conftest import Call, caller


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + b"\x7f" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


JPEG = b"\xff\xd8\xff\xe0\x00\x04AB\xff\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 20, 30) + b"\x01\x01\x11\x00\xff\xd9"
GIF = b"GIF89a" + struct.pack("<HH", 30, 20) + b"\x00\x00\x00;"
VP8X = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (29).to_bytes(3, "little") + (19).to_bytes(3, "little")
VP8L = b"RIFF\x1e\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + struct.pack("<I", 29 | 19 << 14)
VP8 = b"RIFF\x1e\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 30, 20)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (png(30, 20), "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (VP8X, "image/webp"),
        (VP8L, "image/webp"),
        (VP8, "image/webp"),
    ],
)
async def test_a_picture_is_shown_to_the_model(call: Call, worktree: Path, content: bytes, kind: str) -> None:
    (worktree / "picture").write_bytes(content)
    result = await call("Read", file_path="picture")
    (image,) = result.images
    assert (image.media_type, base64.b64decode(image.data)) == (kind, content)
    assert not result.is_error and "30 × 20 pixels" in result.content


@pytest.mark.parametrize("content", [png(9000, 1), png(1, 1) + b"\0" * MAX_BYTES])
async def test_a_picture_that_no_model_takes_is_refused(call: Call, worktree: Path, content: bytes) -> None:
    (worktree / "picture.png").write_bytes(content)
    result = await call("Read", file_path="picture.png")
    assert result.is_error and "Make it smaller" in result.content and not result.images


async def test_a_picture_cannot_be_edited_as_text(call: Call, worktree: Path) -> None:
    (worktree / "picture.png").write_bytes(png(2, 2))
    await call("Read", file_path="picture.png")
    assert (await call("Edit", file_path="picture.png", old_string="P", new_string="Q")).is_error


def notebook(*cells: Mapping[str, object]) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)})


async def test_a_notebook_is_read_as_its_cells_with_short_outputs(call: Call, worktree: Path) -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["begun\n", "x" * 5_000, "\nlast"]},
        {"output_type": "display_data", "data": {"image/png": "QUJD", "text/plain": "<Figure>"}},
        {"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": ["\x1b[31mboom\x1b[0m"]},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "execution_count": 3, "source": "print('hi')\nd['a']", "outputs": outputs},
        {"cell_type": "code", "execution_count": None, "source": "", "outputs": []},
    ]
    (worktree / "study.ipynb").write_text(notebook(*cells))
    result = await call("Read", file_path="study.ipynb")
    text = "\n".join(line.partition("\t")[2] for line in result.content.splitlines())
    assert "--- cell 1: markdown ---\n# Title\nwords\n" in text
    assert "--- cell 2: code, run [3] ---\nprint('hi')\nd['a']\n--- output ---\nbegun\nxxx" in text
    assert "characters of output left out" in text and "boom" in text and "\x1b" not in text and "x" * 3_000 not in text
    assert text.rstrip().endswith("--- cell 3: code ---")


async def test_a_notebook_can_be_edited_after_it_was_read(call: Call, worktree: Path) -> None:
    (worktree / "study.ipynb").write_text(notebook({"cell_type": "code", "source": "a = 1", "outputs": []}))
    await call("Read", file_path="study.ipynb")
    assert not (await call("Edit", file_path="study.ipynb", old_string="a = 1", new_string="a = 2")).is_error


@pytest.mark.parametrize("content", ["{", "[]", '{"worksheets": []}'])
async def test_what_is_no_notebook_is_refused_with_the_reason(call: Call, worktree: Path, content: str) -> None:
    (worktree / "broken.ipynb").write_text(content)
    result = await call("Read", file_path="broken.ipynb")
    assert result.is_error and "notebook" in result.content


async def test_a_folder_is_refused_with_a_hint(call: Call, worktree: Path) -> None:
    (worktree / "folder").mkdir()
    result = await call("Read", file_path="folder")
    assert result.is_error and "folder" in result.content and "Glob" in result.content


async def test_the_rest_of_a_long_output_can_be_read_also_by_a_later_run(
    confined: ToolContext, worktree: Path, tmp_path: Path
) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    call = caller(replace(confined, outputs=BlobStore(blobs)))
    result = await call("Bash", command="seq 40000")
    output = result.data["output"]
    assert isinstance(output, dict)
    name = str(output["name"])
    assert name in result.content and len(result.content) < 30_300
    later = caller(replace(confined, outputs=BlobStore(blobs), memory=FileMemory()))
    part = await later("Read", file_path=name, offset=20_000, limit=3)
    assert part.content.startswith(" 20000\t20000\n 20001\t20001\n 20002\t20002\n")
    missing = await later("Read", file_path="output://" + "0" * 64)
    assert missing.is_error and "no output" in missing.content
    assert (await later("Read", file_path="output://../../etc/passwd")).is_error


async def test_what_glob_and_grep_leave_out_can_be_read(context: ToolContext, worktree: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    call = caller(replace(context, outputs=BlobStore(blobs)))
    for number in range(1_050):
        (worktree / f"f{number:04d}").write_text("needle\n")
    for tool, inputs, last in (
        ("Glob", {"pattern": "f*"}, "f1049"),
        ("Grep", {"pattern": "needle", "output_mode": "content"}, "f1049:1:needle"),
    ):
        shown = await call(tool, **inputs)
        name = next(word.rstrip(",;") for word in shown.content.split() if word.startswith("output://"))
        whole = await call("Read", file_path=name)
        assert whole.content.splitlines()[-1].endswith(last) and last not in shown.content
