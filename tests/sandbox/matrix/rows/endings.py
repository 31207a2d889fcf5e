"""Ways of running on: what a command leaves behind so that it is not found and not ended."""

from __future__ import annotations

from collections.abc import Sequence

from agentpane.domain.sandbox import Tier

from ..attempt import Guarantee
from ..commands import python
from ..endings import Outliving, Until

SLEEP = "exec -a @mark@ sleep 600"
QUIET = ">/dev/null 2>&1 </dev/null"
LOST = {
    Tier.NONE: "a command that runs as you can kill the process that watches over it; what it had started is then "
    "found by a mark in its environment, unless it has given itself another"
}


def _beside(code: str) -> str:
    """Python that goes on beside the script, and becomes the process that is looked for by `stay()`."""
    stay = "\ndef stay(): os.execv('/bin/sleep', ['@mark@', '600'])\n"
    return f"({python(stay + code).replace('exec ', 'exec -a k@mark@ ', 1)}) {QUIET} &"


WAYS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("in the background", f"({SLEEP}) {QUIET} &", ()),
    ("with its output open", f"({SLEEP}) &", ()),
    ("nohup", f"nohup bash -c '{SLEEP}' {QUIET} &", ()),
    ("disowned", f"({SLEEP}) {QUIET} & disown -a", ()),
    ("a session of its own", f"setsid bash -c '{SLEEP}' {QUIET} &", ()),
    ("forked twice", f"( ( ({SLEEP}) {QUIET} & ) & )", ()),
    (
        "forked twice, in a session of its own, deaf",
        f"( setsid bash -c 'trap \"\" TERM HUP INT QUIT; ({SLEEP}) & exit' {QUIET} & )",
        (),
    ),
    (
        "a daemon by the book",
        _beside("""
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.chdir('/'); os.umask(0); os.closerange(0, 64); stay()
"""),
        (),
    ),
    (
        "deaf to every signal",
        _beside("""
import signal
for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try: signal.signal(one, signal.SIG_IGN)
    except (OSError, ValueError): pass
stay()
"""),
        (),
    ),
    (
        "without the signal at its parent's death",
        _beside("C.prctl(1, 0); os.setsid() if os.getpgrp() != os.getpid() else None; stay()"),
        (),
    ),
    (
        "taking in its own orphans",
        _beside("""
C.prctl(36, 1)
if not os.fork():
    os.setsid(); stay()
import time; time.sleep(600)
"""),
        (),
    ),
    ("stopped", f"({SLEEP}) {QUIET} & until grep -qs ^@mark@ /proc/$!/cmdline; do :; done; kill -STOP $!", ()),
    (
        "as a sibling of the command",
        _beside("""
if call(56, 0x8000 | 17, 0, 0, 0, 0) == 0: stay()
"""),
        ("x86_64",),
    ),
    (
        "always on the move",
        f"(exec -a @mark@ python3 -I -S -c 'import os, time\nfor _ in range(300):\n if os.fork(): os._exit(0)\n"
        f" os.setsid(); time.sleep(.2)') {QUIET} &",
        (),
    ),
    ("thirty at once", f"for i in {{1..30}}; do (setsid bash -c '{SLEEP}' {QUIET} &) ; done", ()),
    (
        "as another user",
        _beside("""
try: os.setuid(12345)
except OSError: pass
stay()
"""),
        ("root",),
    ),
)
KILLED_KEEPER = "until grep -qs ^@mark@ /proc/[0-9]*/cmdline; do :; done; kill -9 $PPID"
BY_NAME = f"(setsid bash -c '{SLEEP}' {QUIET} &); {KILLED_KEEPER}"
NAMELESS = f"(setsid env -i /bin/bash -c '{SLEEP}' {QUIET} &); {KILLED_KEEPER}"
SPOKEN_WITH = (
    "with its output open",
    "forked twice, in a session of its own, deaf",
    "a daemon by the book",
    "stopped",
    "always on the move",
    "thirty at once",
)
WITHOUT_ITS_ENGINE = (
    *SPOKEN_WITH,
    "in the background",
    "a session of its own",
    "deaf to every signal",
    "as another user",
)


def _ways(until: Until, names: Sequence[str] | None = None, spoken_with: bool = False) -> tuple[Outliving, ...]:
    return tuple(
        Outliving(f"{name} (spoken with)" if spoken_with else name, script, until, spoken_with, needs)
        for name, script, needs in WAYS
        if names is None or name in names
    )


COMMAND = Guarantee(
    "after a command",
    "What a command started has ended when the command has",
    (
        *_ways(Until.END),
        *_ways(Until.END, SPOKEN_WITH[:2], spoken_with=True),
        Outliving("after it has killed its keeper", BY_NAME, Until.END),
        Outliving(
            "after it has killed its keeper, with another environment", NAMELESS, Until.END, gaps=LOST, scoped=True
        ),
    ),
)
STOP = Guarantee(
    "after Stop",
    "One second after Stop nothing of it runs",
    (*_ways(Until.STOP), *_ways(Until.STOP, SPOKEN_WITH, spoken_with=True)),
)
ENGINE = Guarantee(
    "after the engine",
    "Two seconds after the engine was killed nothing of it runs",
    (*_ways(Until.KILL, WITHOUT_ITS_ENGINE), *_ways(Until.KILL, SPOKEN_WITH[1:5], spoken_with=True)),
)

GUARANTEES = (COMMAND, STOP, ENGINE)
