"""Who may stand at the door: its folder belongs to one user, and so does whoever connects."""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from agentpane.api.protocol import unreachable

# macOS: from sys/un.h and sys/ucred.h
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 0x001
_LOCAL_PEERPID = 0x002
_XUCRED = struct.Struct("=IIh2x16I")
_UCRED = struct.Struct("=iII")  # Linux: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Peer:
    pid: int  # 0: not visible from here
    uid: int


def peer_of(connected: socket.socket) -> Peer:
    """The process at the other end, as the kernel knows it. Raises OSError if the connection has gone."""
    with socket.socket(fileno=os.dup(connected.fileno())) as own:  # event loops hand out sockets that refuse getsockopt
        if sys.platform == "darwin":
            fields = _XUCRED.unpack(own.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
            pid = own.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
            return Peer(pid, fields[1])
        pid, uid, _ = _UCRED.unpack(own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return Peer(pid, uid)


def check_folder(folder: Path) -> None:
    """Raises AgentPaneError with ENGINE_UNREACHABLE unless `folder` is a folder of ours that nobody else may enter."""
    try:
        found = folder.lstat()
    except OSError as error:
        raise unreachable(f"The engine's socket folder {folder} is not there: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode):
        raise unreachable(
            f"{folder}, where the engine's socket belongs, is not a folder.", "Remove it, then try again."
        )
    if found.st_uid != os.getuid():
        raise unreachable(
            f"The socket folder {folder} belongs to another user, so the engine does not use it.",
            "Remove it, or set XDG_RUNTIME_DIR to a folder of your own.",
        )
    if found.st_mode & 0o077:
        raise unreachable(
            f"The socket folder {folder} is open to other users, so the engine does not use it.",
            f"Look who made it, then close it: chmod 700 {folder}",
        )


def make_folder(folder: Path) -> None:
    """Make the socket's folder if it is not there. Raises like `check_folder`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unreachable(f"The engine's socket folder {folder} cannot be made: {error.strerror}.") from error
    check_folder(folder)
