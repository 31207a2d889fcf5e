"""What this machine and this user offer, as far as attempts need it to succeed unprotected."""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import platform
import resource
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from agentpane.sandbox import landlock

from .scene import ROOM


def lacking(needs: tuple[str, ...]) -> str | None:
    """Why an attempt cannot succeed here even unprotected; None when it can."""
    return next((_WORDS[need] for need in needs if not _has(need)), None)


@cache
def _has(need: str) -> bool:
    return _PROBES[need]()


def _ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _user_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode == 0


def _system_call(number: int, *arguments: int) -> Callable[[], bool]:
    def works() -> bool:
        if platform.machine() != "x86_64":
            return False
        result = ctypes.CDLL(None).syscall(*(ctypes.c_long(one) for one in (number, *arguments)))
        if number == 425 and result >= 0:
            os.close(result)
        return bool(result >= 0)

    return works


def _attributes() -> bool:
    probe = ROOM / f"apm-probe-{os.getpid()}"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"1")
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def _may_give_itself(capability: int) -> bool:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> capability & 1)


def _several_paths() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError:
        return False
    return True


def _leads_here(name: str) -> bool:
    try:
        return socket.gethostbyname(name).startswith("127.")
    except OSError:
        return False


def _kernel_messages() -> bool:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _disk() -> bool:
    for name in ("vda", "sda", "nvme0n1"):
        try:
            with open(f"/dev/{name}", "rb") as disk:
                return bool(disk.read(4))
        except OSError:
            continue
    return False


def _addresses() -> bool:
    without_memory = 0x4000
    try:
        mmap.mmap(-1, 300 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | without_memory).close()
    except OSError:
        return False
    return True


def _allocation() -> bool:
    if shutil.disk_usage(ROOM).free < 20 * 1024**3:
        return False
    with tempfile.TemporaryFile(dir=ROOM) as probe:
        command = ["fallocate", "-l", "8192", f"/proc/self/fd/{probe.fileno()}"]
        return not subprocess.run(command, pass_fds=[probe.fileno()], capture_output=True, check=False).returncode


def _address() -> bool:
    return outer_address() is not None


@cache
def outer_address() -> str | None:
    """An address of this machine that is not loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return None
        return str(probe.getsockname()[0])


_PROBES: Mapping[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "user": lambda: os.geteuid() != 0,
    "x86_64": lambda: platform.machine() == "x86_64",
    "ipv6": _ipv6,
    "user namespaces": _user_namespaces,
    "io_uring": _system_call(425, 1, ctypes.addressof(ctypes.create_string_buffer(120))),
    "keyrings": _system_call(250, 0, -4, 1),
    "attributes": _attributes,
    "address": _address,
    "gcc": lambda: shutil.which("gcc") is not None,
    "cgroups": lambda: os.path.isdir("/sys/fs/cgroup/pids") and os.access("/sys/fs/cgroup/pids", os.W_OK),
    "kvm": lambda: os.access("/dev/kvm", os.R_OK | os.W_OK),
    "tun": lambda: os.access("/dev/net/tun", os.R_OK | os.W_OK),
    "fuse": lambda: os.access("/dev/fuse", os.R_OK | os.W_OK),
    "mem": lambda: os.path.exists("/dev/mem"),
    "kmsg": _kernel_messages,
    "binfmt": lambda: os.path.exists("/proc/sys/fs/binfmt_misc/register"),
    "pci": lambda: os.path.exists("/sys/bus/pci/rescan"),
    "console": lambda: os.path.exists("/dev/tty1"),
    "loop": lambda: os.path.exists("/dev/loop-control"),
    "mptcp": _several_paths,
    "raw": lambda: os.geteuid() == 0 and _may_give_itself(13),
    "vsock": lambda: os.access("/dev/vsock", os.R_OK),
    "hostname": lambda: _leads_here(socket.gethostname()),
    "cores": lambda: resource.getrlimit(resource.RLIMIT_CORE)[1] == resource.RLIM_INFINITY,
    "sysrq": lambda: os.path.exists("/proc/sysrq-trigger"),
    "kcore": lambda: os.path.exists("/proc/kcore"),
    "modules": lambda: os.path.exists("/proc/modules"),
    "kexec": lambda: os.path.exists("/sys/kernel/kexec_loaded"),
    "resource": lambda: _may_give_itself(24),
    "disk": _disk,
    "addresses": _addresses,
    "allocation": _allocation,
    "shared memory": lambda: shutil.disk_usage("/dev/shm").free > 1024**3,
    "ports": lambda: not landlock.abi() or landlock.abi() >= landlock.NETWORK_ABI,
    "tools": lambda: importlib.util.find_spec("pydantic") is not None,
}

_WORDS: Mapping[str, str] = {
    "root": "only root can do it at all",
    "user": "root does it by right",
    "x86_64": "it is written for x86_64",
    "ipv6": "no IPv6 here",
    "user namespaces": "this system gives no user namespaces",
    "io_uring": "this kernel has no io_uring for this user",
    "keyrings": "this kernel has no keyrings for this user",
    "attributes": "the file system keeps no attributes",
    "address": "the machine has no address but loopback's",
    "gcc": "no gcc here",
    "cgroups": "no cgroups that this user can write",
    "kvm": "no /dev/kvm for this user",
    "tun": "no /dev/net/tun for this user",
    "fuse": "no /dev/fuse for this user",
    "mem": "no /dev/mem here",
    "kmsg": "no /dev/kmsg for this user",
    "binfmt": "no binfmt_misc here",
    "pci": "no PCI here",
    "console": "no console here",
    "loop": "no loop devices here",
    "mptcp": "this kernel has no MPTCP",
    "raw": "this user may send no raw packets",
    "vsock": "no virtual machines' sockets for this user",
    "hostname": "the machine's name does not lead to loopback",
    "cores": "dumps of crashes are limited already",
    "sysrq": "this kernel has no magic keys",
    "kcore": "this kernel does not show its memory",
    "modules": "this kernel has no modules",
    "kexec": "this kernel cannot start another",
    "resource": "this root lacks CAP_SYS_RESOURCE",
    "disk": "no disk that this root may read",
    "addresses": "this kernel gives no addresses without memory behind them",
    "allocation": "the file system allocates nothing ahead, or has less than 20 GB free",
    "shared memory": "there is little room in /dev/shm",
    "ports": "this kernel's Landlock knows no ports, and tier B refuses to limit a command to hosts",
    "tools": "this Python lacks what the tools need",
}
