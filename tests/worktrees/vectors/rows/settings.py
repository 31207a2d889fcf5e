"""Settings, attributes and stored guesses that make git show, keep or merge something other than what is there."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

from ..scene import BRANCH, Scene
from ..vector import Place, Plain, Vector, never, plain

_HIDES = "the change is not shown"
_OVERLOOKS = "an edited file is taken for an unchanged one"
_DROPS = "the merge does not bring the change"


def _set(*pairs: tuple[str, str]) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        for key, value in pairs:
            scene.config(key, value)

    return plant


def _info(scene: Scene, text: str) -> None:
    (scene.common / "info").mkdir(exist_ok=True)
    (scene.common / "info" / "attributes").write_text(text)


def _hidden(*options: str) -> Plain:
    """Whether `git diff` shows none of the lines of the reviewed change."""

    def works(scene: Scene) -> bool:
        shown = scene.git("diff", *options, scene.first, scene.reviewed, where=scene.repo)
        return shown is not None and "+agent" not in shown

    return works


def _pointer_hidden(scene: Scene) -> bool:
    command = ("diff", "--name-only", scene.first, scene.reviewed)
    shown = scene.git(*command, where=scene.repo, check=True) or ""
    there = scene.git(*command, "--ignore-submodules=none", where=scene.repo, check=True) or ""
    return "module" in there and "module" not in shown


def _binary_driver(scene: Scene) -> None:
    scene.both(".gitattributes", "* diff=own\n")
    scene.config("diff.own.binary", "true")


def _far_attributes(scene: Scene) -> None:
    (scene.outside / "attributes").write_text("* -diff\n")
    scene.config("core.attributesFile", str(scene.outside / "attributes"))


def _forged_graph(scene: Scene) -> None:
    """A commit graph in which the reviewed commit has the tree of the one before it."""
    scene.git("commit-graph", "write", "--reachable", check=True)
    file = scene.common / "objects" / "info" / "commit-graph"
    data = bytearray(file.read_bytes())
    trees = [bytes.fromhex(scene.git("rev-parse", f"{one}^{{tree}}") or "") for one in (scene.reviewed, scene.first)]
    assert data.count(trees[0]) >= 1  # also the tree of the commits that merged it
    data = data.replace(trees[0], trees[1])
    data[-20:] = hashlib.sha1(data[:-20], usedforsecurity=False).digest()
    file.chmod(0o644)
    file.write_bytes(data)


def _replaced(scene: Scene) -> None:
    tree = scene.git("rev-parse", f"{scene.first}^{{tree}}", check=True) or ""
    scene.git("replace", scene.reviewed, scene.commit_object(tree, scene.first), check=True)


def _grafts(scene: Scene) -> None:
    (scene.common / "info").mkdir(exist_ok=True)
    (scene.common / "info" / "grafts").write_text(f"{scene.reviewed}\n")


def _shallow(scene: Scene) -> None:
    (scene.common / "shallow").write_text(f"{scene.reviewed}\n")


def _other_history(scene: Scene) -> bool:
    return scene.git("merge-base", "main", scene.reviewed) != scene.first


def edit(scene: Scene) -> None:
    """An edit that keeps the file's size and time, in another second than the one in which git has looked at it."""
    file = scene.tree / "notes.txt"
    about = file.stat()
    while time.time() < int(about.st_ctime) + 1:
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    file.write_text("NOTES\n")
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


def _overlooked(scene: Scene) -> bool:
    return "notes.txt" not in (scene.git("status", "--porcelain") or "notes.txt")


def _mark(mark: str) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        scene.git("update-index", mark, "notes.txt", check=True)

    return plant


def _other_case(scene: Scene) -> None:
    (scene.tree / "Readme.MD").write_text("another\n")


def _case_hidden(scene: Scene) -> bool:
    return "Readme.MD" not in (scene.git("status", "--porcelain") or "Readme.MD")


def _not_brought(scene: Scene) -> bool:
    plain(scene, "@merge -q --no-edit agentpane-ready")
    return "new.txt" not in (scene.git("ls-tree", "--name-only", "main") or "new.txt")


def _ready(*pairs: tuple[str, str]) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        scene.git("branch", "agentpane-ready", scene.ready, check=True)
        _set(*pairs)(scene)

    return plant


def _sparse(scene: Scene) -> None:
    scene.config("extensions.worktreeConfig", "true")
    scene.config("core.sparseCheckout", "true", scene.git_dir / "config.worktree")
    (scene.git_dir / "info").mkdir(exist_ok=True)
    (scene.git_dir / "info" / "sparse-checkout").write_text("/readme.md\n")
    _mark("--skip-worktree")(scene)


def _thinned(scene: Scene) -> bool:
    plain(scene, "reset -q --hard")
    return not (scene.tree / "src" / "app.py").exists()


def _split_index(scene: Scene) -> None:
    scene.git("update-index", "--split-index", check=True)
    for shared in scene.git_dir.glob("sharedindex.*"):
        shared.unlink()


def _nothing_added(scene: Scene) -> bool:
    plain(scene, "add -A", "commit -q -m x")
    return scene.git("rev-parse", BRANCH) == scene.first


def _odd_name(name: str, *pairs: tuple[str, str]) -> Callable[[Scene], None]:
    def plant(scene: Scene) -> None:
        _set(*pairs)(scene)
        (scene.tree / name).mkdir()
        (scene.tree / name / "config").write_text("[core]\n")

    return plant


def _committed(name: str) -> Plain:
    def works(scene: Scene) -> bool:
        plain(scene, "add -A", "commit -q -m x")
        return _on_branch(name)(scene)

    return works


def _on_branch(name: str) -> Plain:
    return lambda scene: name in (scene.git("ls-tree", "-r", "-z", "--name-only", BRANCH, where=scene.repo) or "")


def _encoding(scene: Scene) -> None:
    (scene.tree / ".gitattributes").write_text("poison.txt working-tree-encoding=UTF-16\n")
    (scene.tree / "poison.txt").write_bytes(b"\xd8")


_REPOSITORY = Place.REPOSITORY
VECTORS: tuple[Vector, ...] = (
    Vector("core.bigFileThreshold", _REPOSITORY, _HIDES, _set(("core.bigFileThreshold", "1")), _hidden(), never),
    Vector(
        "diff.ignoreSubmodules", _REPOSITORY, _HIDES, _set(("diff.ignoreSubmodules", "all")), _pointer_hidden, never
    ),
    Vector(
        "submodule.<name>.ignore in .gitmodules",
        Place.BOTH,
        _HIDES,
        lambda scene: scene.both(".gitmodules", '[submodule "m"]\n\tpath = module\n\tignore = all\n'),
        _pointer_hidden,
        never,
        alone=True,
    ),
    Vector(
        "-diff in info/attributes", _REPOSITORY, _HIDES, lambda s: _info(s, "* -diff\n"), _hidden(), never, alone=True
    ),
    Vector("diff.<name>.binary", Place.BOTH, _HIDES, _binary_driver, _hidden(), never, alone=True),
    Vector("-diff by core.attributesFile", _REPOSITORY, _HIDES, _far_attributes, _hidden(), never, alone=True),
    Vector(
        "a forged commit graph", _REPOSITORY, "another change is shown", _forged_graph, _hidden(), never, alone=True
    ),
    Vector("a replaced commit", _REPOSITORY, "another change is shown", _replaced, _hidden(), never, alone=True),
    Vector("info/grafts", _REPOSITORY, "another history is shown", _grafts, _other_history, never, alone=True),
    Vector(
        "the shallow file",
        _REPOSITORY,
        "another history is shown",
        _shallow,
        _other_history,
        never,
        alone=True,
        refused=True,
    ),
    Vector(
        "core.trustCtime",
        _REPOSITORY,
        _OVERLOOKS,
        _set(("core.trustCtime", "false")),
        _overlooked,
        never,
        alone=True,
        innocent=edit,
    ),
    Vector(
        "core.checkStat",
        _REPOSITORY,
        _OVERLOOKS,
        _set(("core.checkStat", "minimal")),
        _overlooked,
        never,
        alone=True,
        innocent=edit,
    ),
    Vector(
        "the mark assume-unchanged",
        _REPOSITORY,
        _OVERLOOKS,
        _mark("--assume-unchanged"),
        _overlooked,
        never,
        alone=True,
        innocent=edit,
    ),
    Vector(
        "the mark skip-worktree",
        _REPOSITORY,
        _OVERLOOKS,
        _mark("--skip-worktree"),
        _overlooked,
        never,
        alone=True,
        innocent=edit,
    ),
    Vector(
        "core.ignoreCase",
        _REPOSITORY,
        "a new file is overlooked",
        _set(("core.ignoreCase", "true")),
        _case_hidden,
        never,
        alone=True,
        innocent=_other_case,
    ),
    Vector(
        "a split index without its half",
        _REPOSITORY,
        "nothing can be committed",
        _split_index,
        _nothing_added,
        never,
        alone=True,
    ),
    Vector(
        "a sparse checkout of one worktree",
        _REPOSITORY,
        "files are taken away",
        _sparse,
        _thinned,
        never,
        alone=True,
        innocent=edit,
    ),
    Vector("pull.twohead", _REPOSITORY, _DROPS, _ready(("pull.twohead", "ours")), _not_brought, never, alone=True),
    Vector(
        "branch.<name>.mergeOptions with a strategy",
        _REPOSITORY,
        _DROPS,
        _ready(("branch.main.mergeOptions", "-s ours")),
        _not_brought,
        never,
        alone=True,
    ),
    Vector(
        "branch.<name>.mergeOptions with --squash",
        _REPOSITORY,
        _DROPS,
        _ready(("branch.main.mergeOptions", "--squash")),
        _not_brought,
        never,
        alone=True,
    ),
    Vector(
        "core.protectNTFS",
        _REPOSITORY,
        "a file for the .git of another system is committed",
        _odd_name("git~1", ("core.protectNTFS", "false")),
        _committed("git~1/config"),
        _on_branch("git~1/config"),
        alone=True,
    ),
    Vector(
        "a .git that a Mac reads as such",
        Place.TREE,
        "a file for the .git of another system is committed",
        _odd_name(".g\u200cit"),
        _committed(".g\u200cit/config"),
        _on_branch(".g\u200cit/config"),
        alone=True,
    ),
    Vector(
        "working-tree-encoding of what is none",
        Place.TREE,
        "nothing can be committed",
        _encoding,
        _nothing_added,
        never,
        alone=True,
        refused=True,
    ),
)
