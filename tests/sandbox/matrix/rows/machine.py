"""The machine itself: /proc, /sys, devices, and what only a privileged process may do.

Unprotected, nothing here changes the machine: files are opened and not written, values are written back as they were,
and calls are made with arguments that the kernel refuses after it has looked at the caller's rights.
"""

from __future__ import annotations

import os
import shutil

from agentpane.domain.sandbox import Tier

from ..attempt import Guarantee
from ..commands import REACHED, Command, python, reached, typed
from ..scene import Scene

ROOT = ("root",)
ROOT_X86 = ("root", "x86_64")
X86 = ("x86_64",)
OWNED = {Tier.LANDLOCK: "where root runs the engine, files of /proc that belong to root can be read without its powers"}
AS_YOU = {Tier.NONE: "a command may do what you may"}


def _open(redirection: str) -> str:
    # in a private /dev the redirection would make a file of that name
    path = redirection.lstrip("<>")
    return f"[ -e {path} ] && ({{ exec 3{redirection}; }} 2>/dev/null) && {REACHED}"


def _opened(name: str, path: str, how: str = "<", **more: object) -> Command:
    return Command(name, _open(how + path), reached, **more)  # type: ignore[arg-type]


def _same(name: str, path: str, needs: tuple[str, ...] = ROOT) -> Command:
    """Writes what is there already."""
    return Command(name, f'v=$(cat {path}) && [ -n "$v" ] && echo "$v" > {path} && {REACHED}', reached, needs=needs)


PROC = Guarantee(
    "/proc and /sys",
    "Settings of the kernel are not changed, and what it keeps of its own is not read",
    (
        _opened("the magic keys", "/proc/sysrq-trigger", ">>", needs=("root", "sysrq")),
        _opened("the kernel's memory", "/proc/kcore", needs=("root", "kcore")),
        _opened("the kernel's pages", "/proc/kpagecount", needs=ROOT, gaps=OWNED),
        _same("the handler of crashes", "/proc/sys/kernel/core_pattern"),
        _same("the name of the machine", "/proc/sys/kernel/hostname"),
        _same("how memory is given", "/proc/sys/vm/overcommit_memory"),
        _same("the loader of modules", "/proc/sys/kernel/modprobe", ("root", "modules")),
        _same("forwarding", "/proc/sys/net/ipv4/ip_forward"),
        _same("the number of processes", "/proc/sys/kernel/pid_max"),
        _opened("formats of programs", "/proc/sys/fs/binfmt_misc/register", ">>", needs=("root", "binfmt")),
        _same("pages that are merged", "/sys/kernel/mm/ksm/run"),
        _same("huge pages", "/sys/kernel/mm/transparent_hugepage/khugepaged/defrag"),
        _opened("a device's settings", "/sys/bus/pci/rescan", ">>", needs=("root", "pci")),
        Command(
            "its own priority when memory is short",
            "echo -500 > /proc/self/oom_score_adj && " + REACHED,
            reached,
            needs=("root", "resource"),
        ),
        Command(
            "a control group",
            "mkdir /sys/fs/cgroup/pids/@mark@ && " + REACHED + "; rmdir /sys/fs/cgroup/pids/@mark@",
            reached,
            needs=("cgroups",),
        ),
    ),
    AS_YOU,
)

DEVICES = Guarantee(
    "devices",
    "No device is reached but the harmless ones: null, zero, full, random, tty",
    (
        _opened("the machine's memory", "/dev/mem", needs=("root", "mem")),
        Command(
            "a disk, read",
            "for d in vda sda nvme0n1; do head -c 4 /dev/$d >/dev/null 2>&1 && " + REACHED + "; done",
            reached,
            needs=("root", "disk"),
        ),
        Command(
            "a disk, opened to write",
            "for d in vda sda nvme0n1; do [ -b /dev/$d ] && " + _open("<>/dev/$d") + "; done",
            reached,
            needs=("root", "disk"),
        ),
        Command(
            "a disk by a device file of its own",
            "mknod d b $(stat -c '0x%t 0x%T' $(ls /dev/vda /dev/sda /dev/nvme0n1 2>/dev/null | head -1)) && "
            "head -c 4 d >/dev/null && " + REACHED,
            reached,
            needs=("root", "disk"),
        ),
        Command("a device file in the worktree", "mknod d c 1 3 && : > d && " + REACHED, reached, needs=ROOT),
        _opened("the kernel's messages", "/dev/kmsg", needs=("kmsg",)),
        _opened("virtual machines", "/dev/kvm", "<>", needs=("kvm",)),
        _opened("tunnels", "/dev/net/tun", "<>", needs=("tun",)),
        _opened("file systems of its own", "/dev/fuse", "<>", needs=("fuse",)),
        _opened("a console", "/dev/tty1", "<>", needs=("root", "console")),
        _opened("loop devices", "/dev/loop-control", "<>", needs=("root", "loop")),
        Command("another terminal", "echo @mark@ > @pty@", typed),
        Command(
            "keys typed into a terminal",
            python("""
import fcntl, termios
f=os.open('@pty@', os.O_RDWR); fcntl.ioctl(f, termios.TIOCSCTTY, 1); fcntl.ioctl(f, termios.TIOCSTI, b'x'); reached()
"""),
            reached,
            needs=ROOT,
        ),
    ),
    AS_YOU,
)


def _lay_setuid(scene: Scene) -> None:
    """A program in the worktree that becomes another user, as a repository unpacked by root might hold."""
    copy = scene.worktree / "id"
    shutil.copy("/usr/bin/id", copy)
    os.chown(copy, 12345, -1)
    copy.chmod(0o4755)


def _call(
    name: str, number: int, arguments: str, needs: tuple[str, ...] = ROOT_X86, refused: str = "(1, 38)"
) -> Command:
    """A system call that is let through, whatever it thinks of its arguments: EPERM and ENOSYS are refusals."""
    code = f"r=call({number}, {arguments}); (r >= 0 or error() not in {refused}) and reached()"
    return Command(name, python(code), reached, needs=needs)


PRIVILEGE = Guarantee(
    "privileges",
    "A command has no privilege of root and gains none",
    (
        Command("capabilities", "grep -q 'CapEff:.*[1-9a-f]' /proc/self/status && " + REACHED, reached, needs=ROOT),
        Command(
            "capabilities that it may gain",
            "grep -q 'CapBnd:.*[1-9a-f]' /proc/self/status && " + REACHED,
            reached,
            needs=ROOT,
        ),
        Command("programs of another user", "grep -q 'NoNewPrivs:.*0' /proc/self/status && " + REACHED, reached),
        Command(
            "a set-user-id program", '[ "$(./id -u)" = 12345 ] && ' + REACHED, reached, prepare=_lay_setuid, needs=ROOT
        ),
        Command("another user", python("os.setuid(12345); reached()"), reached, needs=ROOT),
        Command("other groups", python("os.setgroups([12345]); reached()"), reached, needs=ROOT),
        Command(
            "mounting",
            python("""
C.unshare(0x20000) == 0 and C.mount(b'none', b'/', None, 0x44000, None) == 0 \\
    and C.mount(b'x', b'/mnt', b'tmpfs', 0, None) == 0 and reached()
"""),
            reached,
            needs=ROOT,
        ),
        Command("a mount namespace", python("C.unshare(0x20000) == 0 and reached()"), reached, needs=ROOT),
        Command("a user namespace", "unshare -U true && " + REACHED, reached, needs=("user namespaces",)),
        Command(
            "mounting in a user namespace",
            "unshare -Urm mount -t tmpfs x . && " + REACHED,
            reached,
            needs=("user namespaces",),
        ),
        Command("a network of its own", "unshare -Urn true && " + REACHED, reached, needs=("user namespaces",)),
        Command("processes of its own", "unshare -Urpf true && " + REACHED, reached, needs=("user namespaces",)),
        Command(
            "a user namespace by clone",
            python("p=call(56, 0x10000000|17, 0, 0, 0, 0); p == 0 and os._exit(0); p > 0 and reached()"),
            reached,
            needs=("user namespaces", "x86_64"),
        ),
        Command(
            "a user namespace by clone3",
            python("""
a=(ctypes.c_uint64*11)(0x10000000,0,0,0,17); p=call(435, ctypes.byref(a), 88)
p == 0 and os._exit(0); p > 0 and reached()
"""),
            reached,
            needs=("user namespaces", "x86_64"),
        ),
        Command(
            "the machine's name",
            python("C.unshare(0x4000000) == 0 and C.sethostname(b'x', 1) == 0 and reached()"),
            reached,
            needs=ROOT,
        ),
        Command("another root", python("os.chroot('.'); reached()"), reached, needs=ROOT),
        _call("pivot_root", 155, "ctypes.c_char_p(b'/nowhere'), ctypes.c_char_p(b'/nowhere')"),
        _call("fsopen", 430, "ctypes.c_char_p(b'tmpfs'), 0"),
        _call("open_tree", 428, "-100, ctypes.c_char_p(b'/'), 1"),
        _call("move_mount", 429, "-100, ctypes.c_char_p(b'/nowhere'), -100, ctypes.c_char_p(b'/nowhere'), 0"),
        _call("bpf", 321, "0, ctypes.byref((ctypes.c_uint32*8)(2,4,4,1)), 32"),
        _call(
            "perf_event_open",
            298,
            "ctypes.byref((ctypes.c_uint64*16)(1 | 112 << 32, 0, 0, 0, 0, 1 | 32 | 64)), 0, -1, -1, 0",
            X86,
            "(1, 13, 38)",
        ),
        _call("io_uring", 425, "4, ctypes.byref((ctypes.c_uint32*30)())", ("io_uring", "x86_64")),
        _call("userfaultfd", 323, "1", X86),
        _call("a new kernel", 246, "0, 999, 0, 0", ("root", "x86_64", "kexec")),
        _call("a module", 175, "0, 0, 0", ("root", "x86_64", "modules")),
        _call("removing a module", 176, "ctypes.c_char_p(b'no_such_module'), 0", ("root", "x86_64", "modules")),
        _call("restarting the machine", 169, "0, 0, 0, 0"),
        _call("swap", 167, "ctypes.c_char_p(b'/nowhere'), 0"),
        _call("the kernel's log", 103, "10, 0, 0"),
        _call("watching all files", 300, "0, 0"),
        Command(
            "the clock's pace",
            python("""
t=(ctypes.c_uint64*32)(); call(305, 0, ctypes.byref(t)); t[0]=2; call(305, 0, ctypes.byref(t)) >= 0 and reached()
"""),
            reached,
            needs=ROOT_X86,
        ),
        Command(
            "a raw scheduler",
            python("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); reached()"),
            reached,
            needs=ROOT,
        ),
        Command("a better priority", python("os.setpriority(os.PRIO_PROCESS, 0, -5); reached()"), reached, needs=ROOT),
        Command(
            "more than its limits",
            python("""
import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1<<10, (resource.getrlimit(7)[1])+1)); reached()
"""),
            reached,
            needs=("root", "resource"),
        ),
    ),
    AS_YOU,
)

GUARANTEES = (PROC, DEVICES, PRIVILEGE)
