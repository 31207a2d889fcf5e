"""The repository that all worktrees share: what a command could make the person's git do later."""

from __future__ import annotations

from agentpane.domain.sandbox import Tier

from ..attempt import Guarantee
from ..commands import Command, altered, leaked, rewritten

IDENTITY = "-c user.name=x -c user.email=x@example.invalid"
AS_YOU = {Tier.NONE: "a command may change whatever you may"}


def _try(name: str, script: str, **more: object) -> Command:
    return Command(name, script, altered, **more)  # type: ignore[arg-type]


FILES = Guarantee(
    "git: hooks and configuration",
    "Nothing that the person's git would run or obey is planted: hooks, configuration, attributes",
    (
        _try("a hook", "printf '#!/bin/sh\\n' > @common@/hooks/pre-commit; chmod +x @common@/hooks/pre-commit"),
        _try("the folder of hooks", "rmdir @common@/hooks && ln -s @worktree@ @common@/hooks"),
        _try("the configuration's file", "printf '[core]\\nfsmonitor=x\\n' >> @common@/config"),
        _try("git config", "git config core.hooksPath /tmp"),
        _try(
            "git config for this worktree",
            "git config extensions.worktreeConfig true; git config --worktree core.pager x",
        ),
        _try("the worktree's configuration file", "echo x > @gitdir@/config.worktree"),
        _try("a filter", "git config filter.x.smudge 'sh -c id'"),
        _try("an alias", "git config alias.st '!id'"),
        _try("a remote", "git remote add theirs https://example.invalid/x"),
        _try("a lock on the configuration", ": > @common@/config.lock"),
        _try("what is excluded", "echo '*' > @common@/info/exclude"),
        _try("attributes", "echo '* filter=x' > @common@/info/attributes"),
        _try("replacing the configuration", "cp @common@/config c; mv c @common@/config"),
    ),
    AS_YOU,
)

HISTORY = Guarantee(
    "git: branches and objects",
    "Branches, tags, commits, the index and the objects of the repository stay as they are",
    (
        _try("moving the person's branch", "echo $(git rev-parse HEAD~0) | tr a-f f-a > @common@/refs/heads/main"),
        _try("a new branch", "git branch theirs"),
        _try("removing a branch", "git branch -qD spare"),
        _try("update-ref", "git update-ref refs/heads/x HEAD"),
        _try("a tag", "git tag theirs"),
        _try("moving a tag", "git tag -f v1 $(git commit-tree HEAD^{tree} -m x)"),
        _try("packed refs", "echo x > @common@/packed-refs"),
        _try("where HEAD is", "echo ref: refs/heads/spare > @common@/HEAD"),
        _try("the worktree's HEAD", "git symbolic-ref HEAD refs/heads/spare"),
        _try("a commit", f"echo x >> file.txt; git {IDENTITY} commit -qam theirs"),
        _try("an index entry", "echo x > new; git add new"),
        _try("the person's index", "rm -f @common@/index"),
        _try("an object", "echo x | git hash-object -w --stdin"),
        _try("removing objects", "rm -rf @common@/objects/??"),
        Command(
            "changing an object", "f=$(echo @common@/objects/??/*); f=${f%% *}; chmod u+w $f; echo x >> $f", rewritten
        ),
        _try("collecting garbage", "git gc -q --prune=now"),
        _try("packing", "git repack -qad"),
        _try("a stash", f"echo x >> file.txt; git {IDENTITY} stash -q"),
        _try("other objects' folder", "mkdir -p @common@/objects/info; echo /tmp > @common@/objects/info/alternates"),
        _try("the log of a branch", "echo x >> @common@/logs/HEAD"),
        _try("grafts", "git replace --graft HEAD HEAD"),
        _try("a note", f"git {IDENTITY} notes add -m x"),
        _try("a worktree", "git worktree add -q @out@/w -b w"),
        _try("removing a worktree", "git worktree remove --force @other@"),
        _try("locking a worktree", "git worktree lock @other@"),
        _try("a lock on the index", ": > @common@/index.lock"),
        _try("a lock on a branch", ": > @common@/refs/heads/main.lock"),
        _try("the whole repository", "rm -rf @common@"),
    ),
    AS_YOU,
)

LINK = Guarantee(
    "git: the worktree's .git file",
    "The file `.git` of the worktree stays as it is",
    (
        _try("overwriting", "echo gitdir: /tmp > .git"),
        _try("appending", "echo >> .git"),
        _try("removing", "rm -f .git"),
        _try("renaming", "mv .git other"),
        _try("a folder in its place", "rm -f .git; mkdir .git; echo x > .git/config"),
        _try("a repository in its place", "rm -f .git; git init -q ."),
        _try("a link in its place", "ln -sf /etc .git"),
        _try("a file moved over it", "echo gitdir: /tmp > a; mv a .git"),
        _try("its mode", "chmod 000 .git", needs=()),
        _try("a hard link to it", "ln .git b && echo x > b"),
        _try("through its own root", "echo x > /proc/self/root@worktree@/.git"),
    ),
    {
        **AS_YOU,
        Tier.LANDLOCK: "Landlock cannot take a file out of a folder that may be written; the engine names git's "
        "folders itself and reads nothing from this file",
    },
)

READABLE = Guarantee(
    "git: passwords in the configuration",
    "A password that stands in the repository's `.git/config` is not read",
    (
        Command("git says it", "git remote get-url origin", leaked),
        Command("reading the file", "cat @common@/config", leaked),
    ),
    dict.fromkeys(
        Tier,
        "commands may read the repository's git folder, so that status, log and diff work; "
        "keep passwords in a credential helper",
    ),
)

GUARANTEES = (FILES, HISTORY, LINK, READABLE)
