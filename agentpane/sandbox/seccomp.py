"""A filter of system calls for what namespaces do not separate, as a classic BPF program.

The kernel's keyrings are shared with the whole session, abstract Unix sockets with whoever shares the network, and
io_uring makes calls that no filter sees. On machines other than these two the sandbox does without a filter.
Source: seccomp(2), linux/filter.h, linux/audit.h, and the system call tables of the two architectures.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
import struct
from dataclasses import dataclass

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
X32 = 0x40000000  # x86_64's second numbering starts here
IO_URING_SETUP = 425


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    socket: int
    denied: tuple[int, ...]  # add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, (248, 249, 250, 298, 321, 323)),
    "aarch64": _Machine(0xC00000B7, 198, (217, 218, 219, 241, 280, 282)),
}


def program(network: bool) -> bytes | None:
    """The filter; with a network Unix sockets are denied, since abstract ones of the host would be in reach."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    out = [_step(LOAD, ARCHITECTURE), _step(JUMP_EQUAL, machine.audit, 1, 0), _fail(errno.ENOSYS), _step(LOAD, NUMBER)]
    out += [_step(JUMP_AT_LEAST, X32, 0, 1), _fail(errno.ENOSYS)]
    for number in machine.denied:
        out += [_step(JUMP_EQUAL, number, 0, 1), _fail(errno.EPERM)]
    out += [_step(JUMP_EQUAL, IO_URING_SETUP, 0, 1), _fail(errno.ENOSYS)]
    if network:
        out += [_step(JUMP_EQUAL, machine.socket, 0, 3), _step(LOAD, FIRST_ARGUMENT)]
        out += [_step(JUMP_EQUAL, socket.AF_UNIX, 0, 1), _fail(errno.EAFNOSUPPORT)]
    return b"".join([*out, _step(RETURN, ALLOW)])


def as_file(network: bool) -> int | None:
    """The filter in a file without a name, for bubblewrap to read; the caller closes it."""
    content = program(network)
    if content is None:
        return None
    descriptor = os.memfd_create("filter")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, value)


def _fail(number: int) -> bytes:
    return _step(RETURN, FAIL | number)
