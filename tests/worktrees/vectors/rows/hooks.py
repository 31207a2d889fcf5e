"""Hooks: every kind that plain git runs, and every place from which it takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..scene import Scene
from ..vector import COMMIT, Place, Vector, runs

_MAIL = """From 1111111111111111111111111111111111111111 Mon Sep 17 00:00:00 2001
From: A <a@example.org>
Date: Sat, 1 Jan 2000 00:00:00 +0000
Subject: [PATCH] mail

---
diff --git a/mail.txt b/mail.txt
new file mode 100644
--- /dev/null
+++ b/mail.txt
@@ -0,0 +1 @@
+mail
--
2.39
"""
_PUSH = "push -q . HEAD:refs/heads/pushed"
_AM = "am ../../../mail"

# What a developer runs, under which git runs each hook.
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pre-commit", COMMIT),
    ("prepare-commit-msg", COMMIT),
    ("commit-msg", COMMIT),
    ("post-commit", COMMIT),
    ("post-checkout", ("checkout -q -b other",)),
    ("post-merge", (*COMMIT, "merge -q --no-edit later-of-one")),
    ("pre-merge-commit", (*COMMIT, "merge -q --no-edit later-of-one")),
    ("pre-rebase", (*COMMIT, "rebase -q later-of-one")),
    ("post-rewrite", (*COMMIT, "commit -q --amend -m y")),
    ("pre-auto-gc", ("gc --auto -q",)),
    ("reference-transaction", ("branch other",)),
    ("post-index-change", ("add -A",)),
    ("applypatch-msg", (_AM,)),
    ("pre-applypatch", (_AM,)),
    ("post-applypatch", (_AM,)),
    ("pre-push", (_PUSH,)),
    ("pre-receive", (_PUSH,)),
    ("update", (_PUSH,)),
    ("post-receive", (_PUSH,)),
    ("post-update", (_PUSH,)),
    ("push-to-checkout", ("push -q . +HEAD:refs/heads/main",)),
)


def _prepare(scene: Scene) -> None:
    """What some of the commands need: a branch beside, a mail to apply, and a store that is due to be packed."""
    scene.git("branch", "later-of-one", scene.reviewed)
    (scene.root / "mail").write_text(_MAIL)
    scene.config("gc.auto", "1")
    for number in range(3):  # git counts the files of this folder alone
        (scene.common / "objects" / "17").mkdir(exist_ok=True)
        (scene.common / "objects" / "17" / f"{number:038x}").touch()
    scene.config("receive.denyCurrentBranch", "updateInstead")


def hook(folder: Path, name: str, trap: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\nexec '{trap}'\n")
    (folder / name).chmod(0o755)


def _in_git_folder(name: str) -> Callable[[Scene, str], None]:
    def plant(scene: Scene, trap: str) -> None:
        _prepare(scene)
        hook(scene.common / "hooks", name, trap)

    return plant


def _absolute(scene: Scene, trap: str) -> None:
    hook(scene.outside / "hooks", "post-commit", trap)
    scene.config("core.hooksPath", str(scene.outside / "hooks"))


def _relative(scene: Scene, trap: str) -> None:
    for root in (scene.tree, scene.repo):
        for name in ("pre-commit", "post-checkout", "post-merge", "reference-transaction"):
            hook(root / "tools" / "hooks", name, trap)
    scene.config("core.hooksPath", "tools/hooks")


def _of_one_worktree(scene: Scene, trap: str) -> None:
    hook(scene.outside / "own-hooks", "pre-commit", trap)
    scene.config("extensions.worktreeConfig", "true")
    scene.config("core.hooksPath", str(scene.outside / "own-hooks"), scene.git_dir / "config.worktree")


def _link(scene: Scene, trap: str) -> None:
    hook(scene.outside / "linked-hooks", "pre-commit", trap)
    (scene.common / "hooks").symlink_to(scene.outside / "linked-hooks")


def _watchman(scene: Scene, trap: str) -> None:
    hook(scene.common / "hooks", "fsmonitor-watchman", trap)
    scene.config("core.fsmonitor", str(scene.common / "hooks" / "fsmonitor-watchman"))


VECTORS: tuple[Vector, ...] = (
    *(runs(f"hook {name}", _in_git_folder(name), *lines) for name, lines in _KINDS),
    runs("hook fsmonitor-watchman", _watchman, "status"),
    runs("core.hooksPath, absolute", _absolute, *COMMIT, alone=True),
    runs("core.hooksPath, a tracked folder", _relative, *COMMIT, place=Place.BOTH, alone=True),
    runs("core.hooksPath of one worktree", _of_one_worktree, *COMMIT, alone=True),
    runs("a link in place of the hooks", _link, *COMMIT, alone=True),
)
