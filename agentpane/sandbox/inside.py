"""A helper that makes listening sockets inside another process's network, and hands them out of it.

Run as a file of its own, by `python -I -S inside.py PID SOCKET HOST:PORT...`, with the standard library only: joining
a user namespace takes a process of one thread. SOCKET is a Unix socket, through which the sockets go in the order of
their addresses.
Source: setns(2), ioctl_ns(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import sys
import time

NS_GET_USERNS = 0xB701
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
LOOPBACK_TIMEOUT_S = 10.0
LAP_S = 0.002


def main() -> None:
    pid, given, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    _join(fcntl.ioctl(network, NS_GET_USERNS), CLONE_NEWUSER)
    _join(network, CLONE_NEWNET)
    listeners = [_listener(*address.rpartition(":")[::2]) for address in addresses]
    with socket.socket(fileno=given) as outside:
        socket.send_fds(outside, [b"sockets"], [listener.fileno() for listener in listeners])


def _join(namespace: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, kind):
        number = ctypes.get_errno()
        if number != errno.EINVAL or kind != CLONE_NEWUSER:  # a user namespace of its own cannot be joined again
            raise OSError(number, os.strerror(number))


def _listener(host: str, port: str) -> socket.socket:
    """Waits for the loopback device, which the sandbox is just setting up."""
    deadline = time.monotonic() + LOOPBACK_TIMEOUT_S
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try:
            listener.bind((host, int(port)))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > deadline:
                raise
            time.sleep(LAP_S)
        else:
            listener.listen(128)
            return listener


if __name__ == "__main__":
    main()
