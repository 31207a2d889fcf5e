"""Landlock by its three system calls: what a process gives up for itself and for all that it starts.

Loaded by the helper from its file, so that it needs the standard library only. It is called in the child, between
fork and exec: whatever fails here, the command is not run.
Source: landlock(7), linux/landlock.h, capabilities(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable, Sequence

CREATE, ADD_RULE, RESTRICT = 444, 445, 446
PATH_BENEATH, NET_PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, REFER, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
ALL_OF_ABI_1 = (1 << 13) - 1
ADDED = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))  # by which version of the interface
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
DEVICES = MAKE_CHAR | MAKE_BLOCK
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
NETWORK_ABI, SCOPES_ABI = 4, 6
ABSTRACT_SOCKETS, SIGNALS = 1 << 0, 1 << 1

PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 22, 24, 38
SECCOMP_MODE_FILTER = 2
CAPABILITIES = 64
CAPABILITY_VERSION = 0x20080522


def abi() -> int:
    """The version of the kernel's interface; 0 without one."""
    return max(0, int(_libc().syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def confine(
    readable: Iterable[str],
    writable: Iterable[str],
    devices: Iterable[str],
    ports: Sequence[int] | None,
    program: bytes,
) -> None:
    """Give up everything but this. Paths that are not there are left out. Raises OSError.

    devices: files that may be read and written, but not run. ports: where TCP may connect to; None: everywhere.
    program: the filter of system calls.
    """
    libc, version = _libc(), abi()
    known = ALL_OF_ABI_1 | sum(right for since, right in ADDED if version >= since)
    network = BIND_TCP | CONNECT_TCP if ports is not None and version >= NETWORK_ABI else 0
    scopes = ABSTRACT_SOCKETS | SIGNALS if version >= SCOPES_ABI else 0
    fields = (known, network, scopes)[: 3 if version >= SCOPES_ABI else 2 if version >= NETWORK_ABI else 1]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _checked(libc.syscall(CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)))
    for paths, rights in (
        (readable, READ),
        (writable, known & ~DEVICES),
        (devices, READ_FILE | WRITE_FILE | (TRUNCATE & known)),
    ):
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow_beneath(libc, rules, path, rights)
    for port in ports or () if network else ():
        rule = struct.pack("=QQ", CONNECT_TCP, port)
        _checked(libc.syscall(ADD_RULE, rules, NET_PORT, rule, ctypes.c_uint(0)))
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _drop_capabilities(libc)
    _checked(libc.syscall(RESTRICT, rules, ctypes.c_uint(0)))
    os.close(rules)
    _filter(libc, program)


def _allow_beneath(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= OF_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        _checked(libc.syscall(ADD_RULE, rules, PATH_BENEATH, rule, ctypes.c_uint(0)))
    finally:
        os.close(descriptor)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Root without its powers; whoever has none loses none."""
    for capability in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _checked(libc.capset(struct.pack("=Ii", CAPABILITY_VERSION, 0), struct.pack("=6I", *[0] * 6)))


def _filter(libc: ctypes.CDLL, program: bytes) -> None:
    held = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    _checked(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0))


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
