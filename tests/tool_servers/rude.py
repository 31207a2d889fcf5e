"""A tool server that speaks the protocol by hand, so that it can misbehave: `python rude.py MANNER`.

It needs the standard library only, and so starts at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

OBJECT = {"type": "object", "properties": {}}
PLAIN = {"name": "plain", "description": "Says hello.", "inputSchema": OBJECT}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"more": schema}}
    return schema


def wide() -> dict[str, Any]:
    return {"type": "object", "properties": {f"field{number}": {"type": "string"} for number in range(2_000)}}


HOSTILE = [
    PLAIN,
    {**PLAIN, "description": "the same name again"},
    {"name": "spaced out", "inputSchema": OBJECT},
    {"name": "line\nbreak", "inputSchema": OBJECT},
    {"name": "n" * 200, "inputSchema": OBJECT},
    {"name": "dotted.name", "description": "hid\u202eden \x1b[31m" + "w" * 5_000, "inputSchema": OBJECT},
    {"name": "alternatives", "inputSchema": {**OBJECT, "anyOf": [{"required": ["a"]}]}},
    {"name": "no_object", "inputSchema": {"type": "object", "properties": {"a": True}}},
    {"name": "odd_type", "inputSchema": {"type": "object", "properties": {"a": {"type": "gadget"}}}},
    {"name": "odd_field", "inputSchema": {"type": "object", "properties": {"a b": {"type": "string"}}}},
    {"name": "deep", "inputSchema": nested(40)},
    {"name": "wide", "inputSchema": wide()},
]
# Checking the answer against this would take longer than anybody lives.
PATTERN = {"type": "object", "properties": {"text": {"type": "string", "pattern": "^(a+)+$"}}}


class Rude:
    def __init__(self, manner: str) -> None:
        self.manner = manner

    def serve(self) -> None:
        if self.manner == "silent":
            self.with_child()
            time.sleep(600)
        if self.manner == "dies_at_once":
            sys.stderr.write(f"no luck today, {os.environ.get('HIDDEN')}\n")
            sys.exit(3)
        if self.manner == "endless":
            while True:
                sys.stdout.write("x" * 65536)
        if self.manner == "chatty":
            print("Server starting, please wait...")
        for line in sys.stdin:
            self.answer(json.loads(line))

    def with_child(self) -> None:
        """Somebody who leaves the session and ignores what tells him to stop."""
        script = "import os, signal, time; os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.DEVNULL)

    def answer(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "initialize":
            about = {"name": "rude", "version": "1"}
            version = message["params"]["protocolVersion"]
            self.reply(message, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
        elif method == "tools/list":
            self.reply(message, self.tools(message))
        elif method == "tools/call":
            self.call(message)
        elif "id" in message:
            error = {"code": -32601, "message": f"no {method}"}
            self.say({"jsonrpc": "2.0", "id": message["id"], "error": error})

    def tools(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.manner == "hostile":
            return {"tools": HOSTILE}
        if self.manner == "many":
            return {"tools": [{**PLAIN, "name": f"tool{number:03}"} for number in range(120)]}
        if self.manner == "pages_without_end":
            page = int((message.get("params") or {}).get("cursor") or 0)
            return {"tools": [{**PLAIN, "name": f"page{page}"}], "nextCursor": str(page + 1)}
        if self.manner == "pattern":
            return {"tools": [{**PLAIN, "outputSchema": PATTERN}]}
        if self.manner == "claims_to_read":
            return {"tools": [{**PLAIN, "annotations": {"readOnlyHint": True}}]}
        return {"tools": [PLAIN]}

    def call(self, message: dict[str, Any]) -> None:
        if self.manner == "dies":
            sys.stderr.write(f"giving up, {os.environ.get('HIDDEN')}\n")
            sys.stderr.flush()
            os._exit(7)
        if self.manner == "sleeps":
            return
        if self.manner == "family":
            self.with_child()
        text = f"hello {os.environ.get('HIDDEN', '')}".strip()
        result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
        if self.manner == "pattern":
            result["structuredContent"] = {"text": "a" * 40 + "!"}
        if self.manner == "odd_blocks":
            result["content"] = [
                {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
                {"type": "resource", "resource": {"uri": "file:///notes.txt", "text": "the notes"}},
                {"type": "resource", "resource": {"uri": "file:///blob", "blob": "aGk="}},
                {"type": "resource_link", "uri": "file:///elsewhere", "name": "elsewhere"},
                {"type": "image", "data": "aGk=", "mimeType": "image/tiff"},
            ]
            result["structuredContent"] = {"found": 1}
        self.reply(message, result)

    def reply(self, message: dict[str, Any], result: dict[str, Any]) -> None:
        self.say({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def say(self, message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    Rude(sys.argv[1]).serve()
