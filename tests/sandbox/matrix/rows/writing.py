"""Changing what lies outside the worktree."""

from __future__ import annotations

import os

from agentpane.domain.sandbox import Tier

from ..attempt import Guarantee
from ..commands import Command, altered, piped, python
from ..scene import Scene

IN_B = frozenset({Tier.LANDLOCK})
AS_YOU = {Tier.NONE: "a command may change whatever you may"}


def _try(name: str, script: str, **more: object) -> Command:
    return Command(name, script, altered, **more)  # type: ignore[arg-type]


CONTENT = Guarantee(
    "changing files",
    "Files outside the worktree are not changed",
    (
        _try("overwriting", "echo theirs > @out@/secret.txt"),
        _try("appending", "echo theirs >> @out@/secret.txt"),
        _try("by a path that climbs", "echo theirs > ../../../out/secret.txt"),
        _try("tee", "echo theirs | tee -a @out@/secret.txt"),
        _try("bytes in the middle", "printf x | dd of=@out@/secret.txt conv=notrunc seek=2 bs=1"),
        _try("copying over it", "echo theirs > a; cp a @out@/secret.txt"),
        _try("moving over it", "echo theirs > a; mv a @out@/secret.txt"),
        _try("editing in place", "sed -i s/secret/theirs/ @out@/secret.txt"),
        _try("cutting it off", "truncate -s 3 @out@/secret.txt"),
        _try("emptying it on opening", ": > @out@/secret.txt"),
        _try("making it longer", "truncate -s 1000 @out@/secret.txt"),
        _try("allocating", "fallocate -l 10000 @out@/secret.txt", needs=("allocation",)),
        _try("punching a hole", "fallocate -p -o 0 -l 4 @out@/secret.txt", needs=("allocation",)),
        _try("through a link", "ln -s @out@/secret.txt l; echo theirs > l"),
        _try("through a linked folder", "ln -s @out@ l; echo theirs > l/secret.txt"),
        _try("through the root of a process", "echo theirs > /proc/self/root@out@/secret.txt"),
        _try("through a hard link that it makes", "ln @out@/secret.txt h && echo theirs > h"),
        _try("through a descriptor opened for reading", "exec 3<@out@/secret.txt; echo theirs > /proc/self/fd/3"),
        _try("a mapping", python("import mmap; f=os.open('@out@/secret.txt', os.O_RDWR); mmap.mmap(f, 0)[0:1]=b'x'")),
        _try(
            "sendfile",
            python("a=os.open('file.txt', 0); b=os.open('@out@/secret.txt', os.O_WRONLY); os.sendfile(b, a, 0, 4)"),
        ),
        _try(
            "a splice",
            python("r,w=os.pipe(); os.write(w, b'xx'); os.splice(r, os.open('@out@/secret.txt', os.O_WRONLY), 2)"),
        ),
        _try("pwritev", python("os.pwritev(os.open('@out@/secret.txt', os.O_WRONLY), [b'xx'], 0)")),
        _try("git writes it", "git -c core.pager=cat diff --no-index --output=@out@/secret.txt /dev/null file.txt"),
        Command("a FIFO of somebody else", "echo @mark@ > @fifo@", piped),
    ),
    AS_YOU,
)

CREATING = Guarantee(
    "creating files",
    "Nothing is made outside the worktree",
    (
        _try("a file", "echo x > @out@/new"),
        _try("a folder", "mkdir @out@/new"),
        _try("a symbolic link", "ln -s /etc @out@/new"),
        _try("a hard link", "ln file.txt @out@/new"),
        _try("a FIFO", "mkfifo @out@/new"),
        _try("a device", "mknod @out@/new c 1 3", needs=("root",)),
        _try("a socket", python("import socket; socket.socket(socket.AF_UNIX).bind('@out@/new')")),
        _try(
            "a nameless file that gets a name",
            python("""
f=os.open('@out@', os.O_TMPFILE|os.O_WRONLY)
os.link(f'/proc/self/fd/{f}', '@out@/new', src_dir_fd=f, follow_symlinks=True)
"""),
        ),
        _try("moving it there", "echo x > a; mv a @out@/new"),
        _try("unpacking it there", "tar cf a.tar file.txt; tar xf a.tar -C @out@"),
        _try("through a dangling link", "ln -s @out@/new l; echo x > l"),
        _try("a repository", "git init -q @out@/new"),
        _try("beside the worktree", "echo x > ../new"),
        _try("in the home folder by its path", "echo x > @home@/.profile"),
        _try(
            "in the folder of services",
            "mkdir -p @home@/.config/systemd/user; echo x > @home@/.config/systemd/user/a.service",
        ),
        _try("a program in the home folder", "mkdir -p @home@/.local/bin; cp /bin/true @home@/.local/bin/git"),
        _try("an authorized key", "echo x >> @home@/.ssh/authorized_keys"),
    ),
    AS_YOU,
)

REMOVING = Guarantee(
    "removing and moving files",
    "Nothing outside the worktree is removed, renamed or taken in",
    (
        _try("removing a file", "rm -f @out@/secret.txt"),
        _try("removing a tree", "rm -rf @out@/folder"),
        _try("removing by search", "find @out@ -name secret.txt -delete"),
        _try("removing an empty folder", "rm @out@/folder/inner.txt; rmdir @out@/folder"),
        _try("removing through a link", "ln -s @out@ l; rm l/secret.txt"),
        _try("renaming a file", "mv @out@/secret.txt @out@/other"),
        _try("renaming a folder", "mv @out@/folder @out@/other"),
        _try("taking a file in", "mv @out@/secret.txt ."),
        _try(
            "exchanging two",
            python("call(316, -100, ctypes.c_char_p(b'file.txt'), -100, ctypes.c_char_p(b'@out@/secret.txt'), 2)"),
            needs=("x86_64",),
        ),
        _try("renaming the worktree itself", "mv @worktree@ @main@/.worktrees/three"),
        _try("unlinking by a folder's descriptor", python("os.unlink('secret.txt', dir_fd=os.open('@out@', 0))")),
        _try("rsync's way: all but nothing", "cd @out@ && rm -rf ./*"),
    ),
    AS_YOU,
)

ATTRIBUTES = Guarantee(
    "modes, owners, times",
    "Modes, owners, times and attributes of files outside stay as they are",
    (
        _try("the mode", "chmod 777 @out@/secret.txt"),
        _try("a folder's mode", "chmod 777 @out@"),
        _try("set-user-id", "chmod u+s @out@/program.sh"),
        _try("the mode through a link", "ln -s @out@/secret.txt l; chmod 000 l"),
        _try("the mode by a descriptor", python("os.fchmod(os.open('@out@/secret.txt', 0), 0o777)"), held=IN_B),
        _try("the owner", "chown 12345 @out@/secret.txt", needs=("root",), held=IN_B),
        _try("the group", "chgrp 12345 @out@/secret.txt", needs=("root",), held=IN_B),
        _try("a link's owner", "chown -h 12345 @out@/pointer", needs=("root",), held=IN_B),
        _try("the times", "touch -d 2001-01-01 @out@/secret.txt"),
        _try("the times by a descriptor", python("os.utime(os.open('@out@/secret.txt', 0), (1, 1))"), held=IN_B),
        _try("an attribute", python("os.setxattr('@out@/secret.txt', 'user.theirs', b'1')"), needs=("attributes",)),
        _try(
            "taking an attribute away",
            python("os.removexattr('@out@/secret.txt', 'user.mine')"),
            needs=("attributes",),
            prepare=lambda scene: os.setxattr(scene.out / "secret.txt", "user.mine", b"1"),
        ),
    ),
    {**AS_YOU, Tier.LANDLOCK: "Landlock has no rule for modes, owners, times and attributes of files that exist"},
)

DATA = Guarantee(
    "the engine's data, changed",
    "AgentPane's own database, lock, door and keys are not changed",
    (
        _try("the database", "echo x >> @data@/agentpane.db"),
        _try("the database's log", "rm -f @data@/agentpane.db-wal"),
        _try("the key", "echo theirs > @data@/anthropic-api-key"),
        _try("where the door is", "echo '{}' > @data@/engine.json"),
        _try("the lock's file", "rm -f @data@/engine.lock"),
        _try("the logs", "echo x > @data@/logs/engine.log"),
        _try("a copy of the database", "rm -rf @data@/backups"),
        _try("all of it", "rm -rf @data@"),
        _try("an agent's definition", "echo x > @home@/.config/agentpane/agents/mine.md"),
        _try("the door itself", "rm -f @door@"),
    ),
    AS_YOU,
)


def _dirty(scene: Scene) -> None:
    (scene.main / "file.txt").write_text("edited by the person\n")


MAIN = Guarantee(
    "the main checkout",
    "What the person has checked out, committed or not, is neither read nor changed",
    (
        Command("reading what is not committed", "cat @main@/notes.txt", lambda s, r, b: s.secret.encode() in r.output),
        Command("reading it by climbing", "cat ../../notes.txt", lambda s, r, b: s.secret.encode() in r.output),
        _try("overwriting", "echo theirs > ../../file.txt"),
        _try("creating", "echo x > @main@/new"),
        _try("removing", "rm ../../notes.txt"),
        _try("git throws edits away", "git -C @main@ checkout -q -f .", prepare=_dirty),
        _try("git cleans", "git -C @main@ clean -qfdx"),
        _try("git stashes", "git -C @main@ -c user.name=x -c user.email=x stash -q", prepare=_dirty),
        _try("git switches the branch", "git -C @main@ switch -q spare"),
        _try("git with folders of its own", "git --git-dir=@common@ --work-tree=@main@ rm -qf file.txt"),
    ),
    AS_YOU,
)

OTHERS = Guarantee(
    "other runs' worktrees",
    "The worktrees of other runs are neither read nor changed",
    (
        Command("reading", "cat @other@/notes.txt", lambda s, r, b: s.secret.encode() in r.output),
        Command("reading by climbing", "cat ../two/notes.txt", lambda s, r, b: s.secret.encode() in r.output),
        _try("overwriting", "echo theirs > ../two/file.txt"),
        _try("creating", "echo x > @other@/new"),
        _try("removing", "rm -rf ../two"),
        _try("renaming", "mv ../two ../three"),
        _try("its link to git", "echo gitdir: /tmp > @other@/.git"),
        _try("swapping with its own", "mv ../two ../t; ln -s one ../two"),
    ),
    AS_YOU,
)

GUARANTEES = (CONTENT, CREATING, REMOVING, ATTRIBUTES, DATA, MAIN, OTHERS)
