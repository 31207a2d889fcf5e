"""Filters of system calls for what namespaces and Landlock do not separate, as classic BPF programs.

The kernel's keyrings are shared with the whole session, abstract Unix sockets with whoever shares the network, and
io_uring makes calls that no filter sees. On machines other than these two there is no filter: tier A does without,
and tier B is not offered. Source: seccomp(2), linux/filter.h, linux/audit.h, and the system call tables of the two.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agentpane.domain.sandbox import NetworkMode

LOAD, AND, RETURN = 0x20, 0x54, 0x06
JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT = 0x15, 0x35, 0x45
ALLOW, FAIL = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
X32 = 0x40000000  # x86_64's second numbering starts here
IO_URING_SETUP, CLONE3 = 425, 435
CLONE_NEWUSER = 0x10000000
IOPRIO_WHO_USER = 3
TYPE_MASK = 0xF  # of a socket's type, which carries flags beside it
MSG_FASTOPEN = 0x20000000
TCP_FASTOPEN_CONNECT = 30


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    denied: tuple[int, ...]  # add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd
    # shmget, shmat, shmctl, semget, semop, semctl, msgget, msgsnd, msgrcv, msgctl, semtimedop, mq_open, mq_unlink
    shared_memory: tuple[int, ...]
    scheduling: tuple[int, ...]  # sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr
    socket: int
    socketpair: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    setsockopt: int
    truncate: int
    prlimit64: int
    setpriority: int
    ioprio_set: int
    clone: int
    unshare: int


_MACHINES = {
    "x86_64": _Machine(
        *(
            0xC000003E,
            (248, 249, 250, 298, 321, 323),
            (29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240, 241),
            (142, 144, 203, 314),
        ),
        *(41, 53, 44, 46, 307, 54, 76, 302, 141, 251, 56, 272),
    ),
    "aarch64": _Machine(
        *(
            0xC00000B7,
            (217, 218, 219, 241, 280, 282),
            (194, 196, 195, 190, 193, 191, 186, 189, 188, 187, 192, 180, 181),
            (118, 119, 122, 274),
        ),
        *(198, 199, 206, 211, 269, 208, 45, 261, 140, 30, 220, 97),
    ),
}


def program(network: bool) -> bytes | None:
    """Tier A's filter; with a network Unix sockets are denied, since abstract ones of the host would be in reach.

    Sockets of virtual machines, which lead to the host of this one, belong to no network and are always denied.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    out = _beginning(machine, machine.denied)
    families = (socket.AF_VSOCK, *((socket.AF_UNIX,) if network else ()))
    denied = [step for one in families for step in (_step(JUMP_EQUAL, one, 0, 1), _fail(errno.EAFNOSUPPORT))]
    out += _when(machine.socket, [_argument(0), *denied, _step(RETURN, ALLOW)])
    if network:
        out += _when(machine.socketpair, _no_datagrams())
    return b"".join([*out, _step(RETURN, ALLOW)])


def program_without_namespaces(mode: NetworkMode, truncation: bool) -> bytes | None:
    """Tier B's filter, for a command that shares every namespace with the person.

    truncation: whether Landlock decides about truncate(2); where it does not, the call is denied.
    Sockets are denied that Landlock does not decide about: Unix ones, and unless everything is reachable all but TCP.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    denied = (*machine.denied, *machine.shared_memory, *(() if truncation else (machine.truncate,)))
    out = _beginning(machine, denied)
    for number in (machine.prlimit64, *machine.scheduling):  # its own limits, and nobody else's
        out += _when(number, [_argument(0), *_only(0)])
    for number, users in ((machine.setpriority, os.PRIO_USER), (machine.ioprio_set, IOPRIO_WHO_USER)):
        no_users = [_step(JUMP_EQUAL, users, 0, 1), _fail(errno.EPERM)]  # user 0 is whoever asks
        out += _when(number, [_argument(0), *no_users, _argument(1), *_only(0)])
    out += _when(machine.socket, list(_sockets(mode)))
    out += _when(machine.socketpair, _no_datagrams())
    if mode is NetworkMode.HOSTS:  # connections that are made without connect(2) do not pass Landlock
        for number, flags in ((machine.sendto, 3), (machine.sendmsg, 2), (machine.sendmmsg, 3)):
            fast = [_step(JUMP_ANY_BIT, MSG_FASTOPEN, 0, 1), _fail(errno.EPERM), _step(RETURN, ALLOW)]
            out += _when(number, [_argument(flags), *fast])
        later = [_step(JUMP_EQUAL, TCP_FASTOPEN_CONNECT, 0, 1), _fail(errno.EPERM), _step(RETURN, ALLOW)]
        tcp = [_step(JUMP_EQUAL, socket.IPPROTO_TCP, 1, 0), _step(RETURN, ALLOW)]
        out += _when(machine.setsockopt, [_argument(1), *tcp, _argument(2), *later])
    return b"".join([*out, _step(RETURN, ALLOW)])


def as_file(network: bool) -> int | None:
    """Tier A's filter in a file without a name, for bubblewrap to read; the caller closes it."""
    content = program(network)
    if content is None:
        return None
    descriptor = os.memfd_create("filter")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _beginning(machine: _Machine, denied: tuple[int, ...]) -> list[bytes]:
    """Leaves the call's number loaded for what follows.

    A user namespace would make the command root of it, with all the kernel that only root gets to see. clone3 keeps
    its flags in memory, where no filter sees them; without it programs use clone.
    """
    out = [_step(LOAD, ARCHITECTURE), _step(JUMP_EQUAL, machine.audit, 1, 0), _fail(errno.ENOSYS), _step(LOAD, NUMBER)]
    out += [_step(JUMP_AT_LEAST, X32, 0, 1), _fail(errno.ENOSYS)]
    for number in denied:
        out += [_step(JUMP_EQUAL, number, 0, 1), _fail(errno.EPERM)]
    for number in (IO_URING_SETUP, CLONE3):
        out += [_step(JUMP_EQUAL, number, 0, 1), _fail(errno.ENOSYS)]
    no_users = [_step(JUMP_ANY_BIT, CLONE_NEWUSER, 0, 1), _fail(errno.EPERM), _step(RETURN, ALLOW)]
    return [*out, *(step for one in (machine.clone, machine.unshare) for step in _when(one, [_argument(0), *no_users]))]


def _sockets(mode: NetworkMode) -> Iterator[bytes]:
    if mode is NetworkMode.NONE:
        yield _fail(errno.EACCES)
        return
    yield _argument(0)
    yield from (_step(JUMP_EQUAL, socket.AF_NETLINK, 0, 1), _step(RETURN, ALLOW))
    yield from (_step(JUMP_EQUAL, socket.AF_INET, 2, 0), _step(JUMP_EQUAL, socket.AF_INET6, 1, 0))
    yield _fail(errno.EAFNOSUPPORT)
    if mode is NetworkMode.HOSTS:
        yield from (_argument(1), _step(AND, TYPE_MASK), _step(JUMP_EQUAL, socket.SOCK_STREAM, 1, 0))
        yield _fail(errno.EACCES)
        yield from (_argument(2), _step(JUMP_EQUAL, 0, 2, 0), _step(JUMP_EQUAL, socket.IPPROTO_TCP, 1, 0))
        yield _fail(errno.EACCES)
    yield _step(RETURN, ALLOW)


def _no_datagrams() -> list[bytes]:
    """A pair of datagram sockets can be connected anew, to a Unix socket of the host."""
    kind = [_argument(1), _step(AND, TYPE_MASK), _step(JUMP_EQUAL, socket.SOCK_DGRAM, 0, 1)]
    return [*kind, _fail(errno.EACCES), _step(RETURN, ALLOW)]


def _when(number: int, block: list[bytes]) -> list[bytes]:
    """What a call of that number comes to. Each way through `block` returns."""
    return [_step(JUMP_EQUAL, number, 0, len(block)), *block]


def _only(value: int) -> list[bytes]:
    return [_step(JUMP_EQUAL, value, 1, 0), _fail(errno.EPERM), _step(RETURN, ALLOW)]


def _argument(position: int) -> bytes:
    return _step(LOAD, 16 + 8 * position)


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, value)


def _fail(number: int) -> bytes:
    return _step(RETURN, FAIL | number)
