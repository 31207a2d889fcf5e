"""Reading what lies outside the worktree."""

from __future__ import annotations

import os

from agentpane.domain.sandbox import Tier

from ..attempt import Guarantee
from ..commands import REACHED, Command, leaked, python, reached
from ..homes import DATA_FILES, KEY_FILES
from ..scene import ENVIRONMENT_SECRETS, Scene

AS_YOU = {Tier.NONE: "a command may read whatever you may"}
VISIBLE = {
    Tier.LANDLOCK: "Landlock hides what is in files and folders, not that a path is there and where a link leads"
}


def _hard_link(scene: Scene) -> None:
    os.link(scene.out / "secret.txt", scene.worktree / "hard")


def _read(name: str, script: str, **more: object) -> Command:
    return Command(name, script, leaked, **more)  # type: ignore[arg-type]


READING = Guarantee(
    "reading outside",
    "Files outside the worktree are not read",
    (
        _read("an absolute path", "cat @out@/secret.txt"),
        _read("a path that climbs", "cat ../../../out/secret.txt"),
        _read("a path that climbs far", "cat ../../../../../../../../../..@out@/secret.txt"),
        _read("changing the folder first", "cd ../../../out && cat secret.txt"),
        _read("the shell's own reading", 'echo "$(<@out@/secret.txt)"'),
        _read("the shell's input", "while read -r a; do echo $a; done < @out@/secret.txt"),
        _read("a copy into the worktree", "cp @out@/secret.txt here; cat here"),
        _read("an archive", "tar cf - -C @out@ secret.txt"),
        _read("a search through everything", "grep -rsh secret @out@"),
        _read("a comparison", "diff /dev/null @out@/secret.txt"),
        _read("git's comparison", "git --no-pager diff --no-index /dev/null @out@/secret.txt"),
        _read("a list of names", "echo @out@/names/*"),
        _read("a list by another program", "ls @out@/names"),
        _read("a link's target", "readlink @out@/pointer", gaps=VISIBLE),
        _read("running a program", "@out@/program.sh"),
        _read("a script as input", "source @out@/program.sh"),
        _read("the root of a process", "cat /proc/self/root@out@/secret.txt"),
        _read("the folder of a process", "cat /proc/self/cwd/../../../out/secret.txt"),
        _read("the folder of the parent", "cat /proc/$PPID/root@out@/secret.txt"),
        _read(
            "an opened folder",
            python("f=os.open('@out@', os.O_PATH); g=os.open('secret.txt', 0, dir_fd=f); os.write(1, os.read(g, 99))"),
        ),
        _read(
            "a mapping",
            python(
                "import mmap; f=os.open('@out@/secret.txt', 0); os.write(1, mmap.mmap(f, 0, prot=mmap.PROT_READ)[:])"
            ),
        ),
        _read(
            "sendfile",
            python("""
f=os.open('@out@/secret.txt', 0); os.sendfile(os.open('got', os.O_CREAT|os.O_WRONLY), f, 0, 99)
os.write(1, open('got', 'rb').read())
"""),
        ),
        _read(
            "a copy by the kernel",
            python("""
f=os.open('@out@/secret.txt', 0); os.copy_file_range(f, os.open('got', os.O_CREAT|os.O_WRONLY), 99)
os.write(1, open('got', 'rb').read())
"""),
        ),
        _read(
            "openat2",
            python("""
h=(ctypes.c_uint64*3)(0,0,0); f=call(437, -100, ctypes.c_char_p(b'@out@/secret.txt'), ctypes.byref(h), 24)
os.write(1, os.read(f, 99))
"""),
        ),
        _read(
            "a file handle",
            python("""
class H(ctypes.Structure): _fields_=[('n',ctypes.c_uint),('t',ctypes.c_int),('b',ctypes.c_char*128)]
h=H(128); m=ctypes.c_int(); g=call(303, -100, ctypes.c_char_p(b'@out@/secret.txt'), ctypes.byref(h), ctypes.byref(m), 0)
f=call(304, os.open('@out@', 0), ctypes.byref(h), 0); os.write(1, os.read(f, 99))
"""),
            needs=("root", "x86_64"),
        ),
        Command(
            "its existence and size",
            "[ -s @out@/secret.txt ] && " + REACHED,
            reached,
            gaps=VISIBLE,
        ),
        Command("the machine's accounts", "head -c 1 /etc/shadow && " + REACHED, reached, needs=("root",)),
        Command(
            "keys of the machine",
            "for f in /etc/ssh/*_key /etc/shadow; do head -c 1 $f && " + REACHED + "; done",
            reached,
            needs=("root",),
        ),
    ),
    AS_YOU,
)

LINKS = Guarantee(
    "links outside",
    "A link in the worktree leads no command outside",
    (
        _read("an absolute link", "ln -s @out@/secret.txt l; cat l"),
        _read("a relative link", "ln -s ../../../out/secret.txt l; cat l"),
        _read("a chain of links", "ln -s @out@/secret.txt a; ln -s a b; ln -s b c; cat c"),
        _read("a linked folder", "ln -s @out@ l; cat l/secret.txt"),
        _read("a link to the root", "ln -s / l; cat l@out@/secret.txt"),
        _read("a link to a magic link", "ln -s /proc/self/root l; cat l@out@/secret.txt"),
        _read(
            "a link that is flipped meanwhile",
            "mkdir in; echo x > in/secret.txt; "
            "(for i in 1 2 3 4 5 6 7 8 9; do ln -sfn @out@ l; ln -sfn in l; done; ln -sfn @out@ l) & wait; "
            "cat l/secret.txt",
        ),
        _read(
            "a link in a folder that is swapped",
            "mkdir -p a/b; ln -s @out@ a/c; mv a/b a/d; mv a/c a/b; cat a/b/secret.txt",
        ),
        _read("a hard link that it makes", "ln @out@/secret.txt hard && cat hard"),
        _read(
            "a hard link by its descriptor",
            "exec 3<@out@/secret.txt; ln -L /proc/self/fd/3 hard && cat hard",
            needs=("root",),
        ),
        Command("a rename of a folder into the worktree", "mv @out@/names taken && ls taken", leaked),
    ),
    AS_YOU,
)

LAID_LINKS = Guarantee(
    "hard links that were there",
    "A file that the worktree shares with the outside by a hard link from before is not reached by commands",
    (
        _read("reading it", "cat hard", prepare=_hard_link),
        Command(
            "writing it",
            "echo x >> hard",
            lambda scene, _, before: b"x\n" in (scene.out / "secret.txt").read_bytes(),
            prepare=_hard_link,
        ),
    ),
    dict.fromkeys(
        Tier,
        "it is a file of the worktree as much as of the outside; git makes no such links, and the file tools "
        "do not write through them",
    ),
)

HOME = Guarantee(
    "keys in the home folder",
    "What programs keep in the home folder is not read",
    (
        *(_read(f"~/{name}", f'cat "@home@/{name}"') for name in KEY_FILES),
        _read("whatever HOME holds", "grep -rsh . ~ | head -c 3000"),
        _read("by the shell's own name for it", "cat ~/.netrc"),
    ),
    AS_YOU,
)

DATA = Guarantee(
    "the engine's data, read",
    "AgentPane's own database, keys and logs are not read",
    tuple(_read(name, f"cat @home@/{name}") for name in DATA_FILES),
    AS_YOU,
)

ENVIRONMENT = Guarantee(
    "keys in the environment",
    "No secret of the engine's environment reaches a command",
    (
        *(_read(name, f'echo "${name}"') for name in ENVIRONMENT_SECRETS),
        _read("all of it", "env"),
        _read("the shell's list", "declare -px"),
        _read("its own in /proc", "cat /proc/self/environ"),
    ),
)

ENGINE_ENVIRONMENT = Guarantee(
    "the environment of others",
    "The environment of other processes is not read",
    (
        _read("a process of the same user", "cat /proc/@victim@/environ"),
        _read(
            "every process",
            "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
            prepare=lambda scene: scene.part("victim"),
        ),
        _read("with ps", "ps axeww -o pid,args", prepare=lambda scene: scene.part("victim")),
        _read("of the tasks of a process", "cat /proc/@victim@/task/@victim@/environ"),
    ),
    AS_YOU,
)

GUARANTEES = (READING, LINKS, LAID_LINKS, HOME, DATA, ENVIRONMENT, ENGINE_ENVIRONMENT)
