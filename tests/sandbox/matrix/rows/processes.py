"""Other processes: seen, read, ended, changed, and spoken with by shared memory and the like."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from agentpane.domain.sandbox import Tier

from ..attempt import Guarantee
from ..commands import REACHED, Command, Oracle, Ran, hurt, leaked, python, reached
from ..scene import Entry, Scene

IN_B = frozenset({Tier.LANDLOCK})
AS_YOU = {Tier.NONE: "a command may do with your processes what you may"}
X86 = ("x86_64",)


def _victim(scene: Scene) -> None:
    scene.part("victim")


def _named(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """The victim's command line has come out."""
    return f"{scene.mark}victim".encode() in ran.output


def _there(path: str) -> Oracle:
    return lambda scene, ran, before: os.path.exists(path.replace("MARK", scene.mark))


SEEING = Guarantee(
    "seeing processes",
    "The machine's other processes are not seen",
    (
        Command("one by its number", "[ -d /proc/@victim@ ] && " + REACHED, reached),
        Command("all command lines", "cat /proc/[0-9]*/cmdline 2>/dev/null", _named, prepare=_victim),
        Command("ps", "ps -eo args", _named, prepare=_victim),
        Command("by its name", "pgrep -f @mark@[v]ictim >/dev/null && " + REACHED, reached, prepare=_victim),
        Command(
            "its folder", 'case "$(readlink /proc/@victim@/cwd)" in */out) ' + REACHED + ";; esac", reached, held=IN_B
        ),
        Command("its opened files", "ls /proc/@victim@/fd | grep -q 0 && " + REACHED, reached),
        Command("what it is mapped to", "grep -q stack /proc/@victim@/maps && " + REACHED, reached, held=IN_B),
        Command("its state", "grep -q State /proc/@victim@/status && " + REACHED, reached),
    ),
    {**AS_YOU, Tier.LANDLOCK: "processes are seen: that they are there, their command lines and their state"},
)

ENDING = Guarantee(
    "signals to processes",
    "No other process is sent a signal",
    (
        Command("kill", "kill -9 @victim@", hurt),
        Command("a polite signal", "kill -TERM @victim@", hurt),
        Command("stopping it", "kill -STOP @victim@", hurt),
        Command("its group", "kill -9 -@victim@", hurt),
        Command("by its name", "pkill -9 -f @mark@[v]ictim", hurt, prepare=_victim),
        Command("by a descriptor", python("import signal; signal.pidfd_send_signal(os.pidfd_open(@victim@), 9)"), hurt),
        Command("to its thread", python("call(234, @victim@, @victim@, 9)"), hurt, needs=X86),
        Command(
            "with a value",
            python("""
class I(ctypes.Structure): _fields_=[('a',ctypes.c_int*32)]
i=I(); i.a[2]=-1; call(129, @victim@, 9, ctypes.byref(i))
"""),
            hurt,
            needs=X86,
        ),
        Command(
            "through a file's owner",
            python("""
import fcntl, socket
a,b=socket.socketpair(); fcntl.fcntl(a, fcntl.F_SETOWN, @victim@); fcntl.fcntl(a, 10, 9)
fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC|os.O_NONBLOCK); b.send(b'x')
import time
for _ in range(40):
    if open('/proc/@victim@/stat').read().rpartition(')')[2].split()[0] == 'Z': break
    time.sleep(0.002)
"""),
            hurt,
        ),
    ),
    AS_YOU,
    scoped=True,
)

TOUCHING = Guarantee(
    "memory and settings of processes",
    "The memory of other processes is neither read nor written, and their limits and priorities stay",
    (
        Command("attaching to it", python("r=call(101, 16, @victim@, 0, 0); r == 0 and reached()"), reached, needs=X86),
        Command("seizing it", python("r=call(101, 0x4206, @victim@, 0, 0); r == 0 and reached()"), reached, needs=X86),
        Command(
            "its memory as a file",
            python("""
for line in open('/proc/@victim@/maps'):
    if '[stack]' in line:
        a,b=[int(x,16) for x in line.split()[0].split('-')]
        f=open('/proc/@victim@/mem','rb',0); f.seek(a); os.write(1, f.read(b-a))
"""),
            leaked,
        ),
        Command(
            "writing its memory",
            python("""
for line in open('/proc/@victim@/maps'):
    if '[stack]' in line:
        b=int(line.split()[0].split('-')[1], 16)
        f=open('/proc/@victim@/mem','r+b',0); f.seek(b-4); f.write(b'xxxx'); reached()
"""),
            reached,
        ),
        Command(
            "process_vm_readv",
            python("""
for line in open('/proc/@victim@/maps'):
    if '[stack]' in line:
        a,b=[int(x,16) for x in line.split()[0].split('-')]; buf=ctypes.create_string_buffer(b-a)
        l=(ctypes.c_ulong*2)(ctypes.addressof(buf),b-a); r=(ctypes.c_ulong*2)(a,b-a)
        call(310, @victim@, ctypes.byref(l), 1, ctypes.byref(r), 1, 0); os.write(1, buf.raw)
"""),
            leaked,
            needs=X86,
        ),
        Command(
            "process_vm_writev",
            python("""
for line in open('/proc/@victim@/maps'):
    if '[stack]' in line:
        a,b=[int(x,16) for x in line.split()[0].split('-')]; buf=ctypes.create_string_buffer(4)
        l=(ctypes.c_ulong*2)(ctypes.addressof(buf),4); r=(ctypes.c_ulong*2)(b-4,4)
        call(311, @victim@, ctypes.byref(l), 1, ctypes.byref(r), 1, 0) == 4 and reached()
"""),
            reached,
            needs=X86,
        ),
        Command(
            "stealing a descriptor",
            python("r=call(438, os.pidfd_open(@victim@), 0, 0); r >= 0 and reached()"),
            reached,
            needs=X86,
        ),
        Command("its priority", python("os.setpriority(os.PRIO_PROCESS, @victim@, 15); reached()"), reached),
        Command(
            "its limits",
            python("import resource; resource.prlimit(@victim@, resource.RLIMIT_NOFILE, (5, 5)); reached()"),
            reached,
        ),
        Command(
            "its processors",
            python("os.sched_setaffinity(@victim@, {min(os.sched_getaffinity(0))}); reached()"),
            reached,
        ),
        Command(
            "its scheduler",
            python("os.sched_setscheduler(@victim@, os.SCHED_BATCH, os.sched_param(0)); reached()"),
            reached,
        ),
        Command(
            "its disk priority", python("call(251, 1, @victim@, (3 << 13)) == 0 and reached()"), reached, needs=X86
        ),
        Command(
            "who is killed when memory is short", "echo 1000 > /proc/@victim@/oom_score_adj && " + REACHED, reached
        ),
        Command(
            "its name",
            "printf x > /proc/@victim@/comm; echo 0x33 > /proc/@victim@/coredump_filter && " + REACHED,
            reached,
        ),
        Command("its references", "echo 1 > /proc/@victim@/clear_refs && " + REACHED, reached),
        Command(
            "comparing it with itself",
            python("call(312, @victim@, @victim@, 0, 0, 0) >= 0 and reached()"),
            reached,
            needs=X86,
        ),
        Command(
            "its robust futexes",
            python("""
h=ctypes.c_void_p(); n=ctypes.c_size_t(); call(274, @victim@, ctypes.byref(h), ctypes.byref(n)) == 0 and reached()
"""),
            reached,
            needs=X86,
        ),
        Command(
            "entering its namespaces",
            python("C.setns(os.open('/proc/@victim@/ns/uts', 0), 0) == 0 and reached()"),
            reached,
            needs=("root",),
        ),
        Command(
            "advising it",
            python("""
v=(ctypes.c_ulong*2)(0,0); call(440, os.pidfd_open(@victim@), ctypes.byref(v), 0, 20, 0) >= 0 and reached()
"""),
            reached,
            needs=("root", "x86_64"),
        ),
    ),
    AS_YOU,
)


class _Message(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_long), ("text", ctypes.c_char * 64))


def _lay_memory(scene: Scene) -> None:
    """A SysV segment that holds the secret; its number takes the place of @shm@."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    number = libc.shmget(0, 4096, 0o1600)
    address = libc.shmat(number, None, 0)
    ctypes.memmove(address, scene.secret.encode(), len(scene.secret))
    scene.lay("shm", number)
    scene.on_close(partial(libc.shmctl, number, 0, None))
    scene.on_close(partial(libc.shmdt, ctypes.c_void_p(address)))


def _lay_queue(scene: Scene) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.msgget(0, 0o1600)
    message = _Message(1, scene.secret.encode())
    libc.msgsnd(number, ctypes.byref(message), ctypes.c_size_t(64), 0)
    scene.lay("queue", number)
    scene.on_close(partial(libc.msgctl, number, 0, None))


def _lay_semaphore(scene: Scene) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.semget(0, 1, 0o1600)
    scene.lay("sem", number)
    scene.on_close(partial(libc.semctl, number, 0, 0))


def _lay_shared(scene: Scene) -> None:
    path = Path("/dev/shm") / scene.mark
    path.write_text(scene.secret)
    path.chmod(0o600)
    scene.on_close(partial(path.unlink, missing_ok=True))


def _clear_shared(scene: Scene) -> None:
    scene.on_close(partial((Path("/dev/shm") / scene.mark).unlink, missing_ok=True))


def _lay_posix_queue(scene: Scene) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    name = f"/{scene.mark}".encode()
    queue = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
    libc.mq_send(queue, scene.secret.encode(), ctypes.c_size_t(len(scene.secret)), 0)
    scene.on_close(partial(libc.mq_unlink, name))
    scene.on_close(partial(os.close, queue))


def _lay_temporary(scene: Scene) -> None:
    path = Path("/tmp") / scene.mark
    path.write_text(scene.secret)
    scene.on_close(partial(path.unlink, missing_ok=True))


def _lay_key(scene: Scene) -> None:
    """A key in the user's keyring of the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    secret, ring = scene.secret.encode(), ctypes.c_int(-4)
    serial = libc.syscall(248, b"user", scene.mark.encode(), secret, ctypes.c_size_t(len(secret)), ring)
    scene.lay("key", serial)
    scene.on_close(partial(libc.syscall, 250, 9, serial, ring))


SHARING = Guarantee(
    "shared memory, queues and keys",
    "Shared memory, message queues, semaphores and the kernel's keyrings of others are out of reach",
    (
        Command(
            "a memory segment",
            python("""
C.shmat.restype=ctypes.c_void_p; a=C.shmat(@shm@, None, 0); os.write(1, ctypes.string_at(a, 64) if a+1 else b'')
"""),
            leaked,
            prepare=_lay_memory,
        ),
        Command(
            "a message queue",
            python("""
b=ctypes.create_string_buffer(80); C.msgrcv(@queue@, b, ctypes.c_size_t(64), 0, 0o4000); os.write(1, b.raw)
"""),
            leaked,
            prepare=_lay_queue,
        ),
        Command("a semaphore", python("C.semctl(@sem@, 0, 16, 3) == 0 and reached()"), reached, prepare=_lay_semaphore),
        Command(
            "a list of what there is",
            "tail -n +2 /proc/sysvipc/shm | grep -q . && " + REACHED,
            reached,
            prepare=_lay_memory,
            gaps={Tier.LANDLOCK: "lists in /proc can be read; nothing in them can be reached"},
        ),
        Command(
            "a POSIX queue",
            python("""
q=C.mq_open(b'/@mark@', 0); b=ctypes.create_string_buffer(9000)
C.mq_receive(q, b, ctypes.c_size_t(9000), None); os.write(1, b.raw[:64])
"""),
            leaked,
            prepare=_lay_posix_queue,
        ),
        Command(
            "a key of the kernel",
            python("b=ctypes.create_string_buffer(99); call(250, 11, @key@, ctypes.byref(b), 99); os.write(1, b.raw)"),
            leaked,
            prepare=_lay_key,
            needs=("keyrings", "x86_64"),
        ),
        Command(
            "looking for a key",
            python("call(250, 10, -4, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'@mark@'), 0) > 0 and reached()"),
            reached,
            prepare=_lay_key,
            needs=("keyrings", "x86_64"),
        ),
        Command(
            "a key of its own",
            python("""
call(248, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'@mark@x'), ctypes.c_char_p(b'v'), 1, -2) > 0 and reached()
"""),
            reached,
            needs=("keyrings", "x86_64"),
        ),
    ),
    AS_YOU,
)

TEMPORARY = Guarantee(
    "temporary files of others",
    "Files in /tmp, /var/tmp and /dev/shm that others have made are not seen, and none is left there",
    (
        Command("reading in /tmp", "cat /tmp/@mark@", leaked, prepare=_lay_temporary),
        Command("seeing in /tmp", "ls /tmp | grep -q @mark@ && " + REACHED, reached, prepare=_lay_temporary),
        Command(
            "leaving in /tmp",
            "echo x > /tmp/@mark@left",
            _there("/tmp/MARKleft"),
            prepare=lambda s: s.on_close(partial(Path(f"/tmp/{s.mark}left").unlink, missing_ok=True)),
        ),
        Command(
            "removing in /tmp",
            "rm /tmp/@mark@",
            lambda s, r, b: not os.path.exists(f"/tmp/{s.mark}"),
            prepare=_lay_temporary,
        ),
        Command(
            "leaving in /var/tmp",
            "echo x > /var/tmp/@mark@left",
            _there("/var/tmp/MARKleft"),
            prepare=lambda s: s.on_close(partial(Path(f"/var/tmp/{s.mark}left").unlink, missing_ok=True)),
        ),
        Command("reading in /dev/shm", "cat /dev/shm/@mark@", leaked, prepare=_lay_shared),
        Command("leaving in /dev/shm", "echo x > /dev/shm/@mark@", _there("/dev/shm/MARK"), prepare=_clear_shared),
    ),
    AS_YOU,
)

GUARANTEES = (SEEING, ENDING, TOUCHING, SHARING, TEMPORARY)
