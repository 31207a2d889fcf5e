"""A tool server made with the SDK: run as a program it speaks on stdio; `over_http` gives it as a web application."""

from __future__ import annotations

import base64
import os
from typing import Any

from mcp.server.mcpserver import Image, MCPServer

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

server = MCPServer("honest")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def greeting(name: str) -> str:
    """Greets somebody."""
    return f"Hello, {name}."


@server.tool()
def picture() -> Image:
    """One pixel."""
    return Image(data=PIXEL, format="png")


@server.tool()
def fail() -> str:
    """Never works."""
    raise ValueError("this never works")


@server.tool()
def long_text(length: int) -> str:
    """As many letters as wanted."""
    return "x" * length


@server.tool()
def surroundings() -> dict[str, Any]:
    """Where it runs and what it was given."""
    names = ("GIVEN", "HIDDEN", "ANTHROPIC_API_KEY", "HOME")
    return {"cwd": os.getcwd(), **{name: os.environ.get(name) for name in names}}


def over_http() -> Any:
    return server.streamable_http_app()


if __name__ == "__main__":
    server.run("stdio")
