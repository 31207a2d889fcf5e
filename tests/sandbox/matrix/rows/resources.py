"""Taking more than a fair part of the machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agentpane.domain.sandbox import Tier

from ..attempt import Guarantee
from ..commands import OUTPUT_LIMIT, REACHED, Oracle, python, reached
from ..hogs import MEMORY, Hog
from ..scene import Scene

SPARSE = 1024**4
ALLOCATES = ("allocation",)


def _large(name: str = "big", size: int = SPARSE) -> Oracle:
    def seen(scene, ran, before):  # type: ignore[no-untyped-def]
        path = scene.worktree / name
        return path.exists() and path.stat().st_size >= size

    return seen


def _clear_shared(scene: Scene) -> None:
    scene.on_close(partial((Path("/dev/shm") / scene.mark).unlink, missing_ok=True))


def _flooded(scene, ran, before):  # type: ignore[no-untyped-def]
    return len(ran.output) > OUTPUT_LIMIT + 1000


NAMELESS = f"""
import time
f = os.memfd_create('x')
for _ in range(40): os.write(f, b'x' * {MEMORY // 20})
"""
STAY = "sleep @stay@; " + REACHED

PROCESSES = Guarantee(
    "too many processes",
    "A command that starts processes without number is ended",
    (
        Hog("children", f"for i in {{1..200}}; do sleep 60 & done; {STAY}", reached),
        Hog(
            "children of children",
            f"bomb() {{ [ $1 = 0 ] || {{ bomb $(($1 - 1)) & bomb $(($1 - 1)) & }}; sleep 60; }}; bomb 7 & {STAY}",
            reached,
        ),
        Hog(
            "daemons",
            python("""
import time
for _ in range(200):
    if not os.fork():
        os.setsid()
        if os.fork(): os._exit(0)
        time.sleep(60); os._exit(0)
time.sleep(@stay@); reached()
"""),
            reached,
        ),
        Hog("stopped ones", f"for i in {{1..200}}; do sleep 60 & done; kill -STOP $(jobs -p); {STAY}", reached),
    ),
)

MEMORY_ROW = Guarantee(
    "too much memory",
    "A command that takes memory without measure is ended",
    (
        Hog(
            "one process",
            python(f"held = bytearray(b'x') * {MEMORY * 2}; import time; time.sleep(@stay@); reached()"),
            reached,
        ),
        Hog(
            "many processes",
            python(f"""
import time
for _ in range(4):
    if not os.fork(): held = bytearray(b'x') * {MEMORY // 2}; time.sleep(60); os._exit(0)
time.sleep(@stay@); reached()
"""),
            reached,
        ),
        Hog(
            "a mapping",
            python(f"""
import mmap, time
m = mmap.mmap(-1, {MEMORY * 2}); m.write(b'x' * {MEMORY * 2}); time.sleep(@stay@); reached()
"""),
            reached,
        ),
        Hog("a file without a name", python(f"{NAMELESS}time.sleep(@stay@); reached()"), reached),
        Hog(
            "many files without a name",
            python(f"""
import time
for number in range(20): os.posix_fallocate(os.memfd_create(str(number)), 0, {MEMORY // 10})
time.sleep(@stay@); reached()
"""),
            reached,
        ),
        Hog(
            "files without a name that are on their way through a socket",
            python(f"""
import socket, time
a, b = socket.socketpair()
for _ in range(20):
    f = os.memfd_create('x'); os.posix_fallocate(f, 0, {MEMORY // 10}); socket.send_fds(a, [b'x'], [f]); os.close(f)
time.sleep(1.2); reached()
"""),
            reached,
            gaps=dict.fromkeys(
                Tier,
                "files without a name are not counted while their only descriptors are on their way through a socket",
            ),
        ),
        Hog(
            "a file of the memory's own file system",
            f"head -c {MEMORY * 2} /dev/zero > /dev/shm/@mark@ && {{ {STAY}; }}",
            reached,
            prepare=_clear_shared,
            needs=("shared memory",),
            gaps={Tier.NONE: "what a command leaves in the machine's own /dev/shm is not counted as its own"},
        ),
        Hog(
            "more addresses than there are",
            python(
                "import mmap; mmap.mmap(-1, 300 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000); reached()"
            ),
            reached,
            needs=("addresses",),
        ),
    ),
)

DISK = Guarantee(
    "too much disk",
    "No file grows beyond 8 GB, and a command that takes the last of the disk is ended",
    (
        Hog("a sparse file of 1 TB", "truncate -s 1T big", _large()),
        Hog("a sparse file by its last byte", "printf x | dd of=big bs=1 seek=1T 2>/dev/null", _large()),
        Hog(
            "a sparse file by its descriptor",
            python("os.ftruncate(os.open('big', os.O_CREAT|os.O_RDWR), 1 << 40)"),
            _large(),
        ),
        Hog(
            "a sparse file by writing far out",
            python("os.pwrite(os.open('big', os.O_CREAT|os.O_RDWR), b'x', 1 << 40)"),
            _large(),
        ),
        Hog("a nameless sparse file", python("os.ftruncate(os.memfd_create('x'), 1 << 40); reached()"), reached),
        Hog("allocated space", "fallocate -l 9G big", _large(size=9 * 1024**3), needs=ALLOCATES),
        Hog("the last of the disk", f"fallocate -l 600M big; {STAY}", reached, disk=True, needs=ALLOCATES),
        Hog(
            "the last of the disk in parts",
            f"for i in 1 2 3 4 5 6; do fallocate -l 100M big$i; done; {STAY}",
            reached,
            disk=True,
            needs=ALLOCATES,
        ),
        Hog(
            "the last of the disk, its name removed",
            f"exec 3>big; fallocate -l 600M big; rm big; {STAY}",
            reached,
            disk=True,
            needs=ALLOCATES,
        ),
        Hog("a higher limit", "ulimit -f unlimited && " + REACHED, reached),
        Hog("dumps of crashes", "ulimit -c unlimited && " + REACHED, reached, needs=("cores",)),
    ),
)

OUTPUT = Guarantee(
    "too much output",
    "Of output without end the head and the tail are kept",
    (
        Hog("bytes", "head -c 8000000 /dev/zero", _flooded),
        Hog("lines", "yes | head -c 8000000", _flooded),
        Hog("errors", "yes | head -c 8000000 >&2", _flooded),
        Hog("from many processes", "for i in 1 2 3 4; do yes | head -c 2000000 & done; wait", _flooded),
        Hog("one line", "head -c 8000000 /dev/zero | tr '\\0' x", _flooded),
    ),
)

TIME = Guarantee(
    "too much time",
    "When its time is over a command is ended, whatever it does",
    (
        Hog("waiting", "sleep @stay@; " + REACHED, reached, timeout_s=0.4),
        Hog("deaf", "trap '' TERM HUP INT QUIT; sleep @stay@; " + REACHED, reached, timeout_s=0.4),
        Hog("busy", "while [ $SECONDS -lt @stay@ ]; do :; done; " + REACHED, reached, timeout_s=0.4),
        Hog("not reading, not writing", "exec <&-; sleep @stay@; " + REACHED, reached, timeout_s=0.4),
        Hog("flooding", "yes & sleep @stay@; kill -9 $!; wait $!; " + REACHED, reached, timeout_s=0.4),
    ),
)

GUARANTEES = (PROCESSES, MEMORY_ROW, DISK, OUTPUT, TIME)
