"""Variables that a program obeys before it does anything: they may have code of their own run in it.

What starts and confines a command is not confined itself, so that it must not be started with them.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from agentpane.sandbox.command import SandboxCommand
from agentpane.sandbox.environment import shell

LOADERS = ("LD_", "DYLD_", "GLIBC_", "MALLOC_")  # how their names begin
LIBRARIES = frozenset(
    [
        "GCONV_PATH",
        "GETCONF_DIR",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "NIS_PATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "TZDIR",
    ]
)


def set_inside(command: SandboxCommand) -> SandboxCommand:
    """The same command; such variables are set for it when it is confined already."""
    obeyed = {name: value for name, value in command.environment.items() if _obeyed(name)}
    if not obeyed:
        return command
    given = [f"{name}={value}" for name, value in obeyed.items()]
    return replace(
        command,
        script=f"exec {shlex.join(['env', *given, shell(), '-c', '--', command.script])}",
        environment={name: value for name, value in command.environment.items() if name not in obeyed},
    )


def _obeyed(name: str) -> bool:
    return name.startswith(LOADERS) or name in LIBRARIES
