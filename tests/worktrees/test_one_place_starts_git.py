"""Git is started in one module; any other place in the source that could is found here.

What is really started is looked at in `tests/orchestrator/test_every_git_is_pinned.py`.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import agentpane

ROOT = Path(agentpane.__file__).parent
ONE_PLACE = Path("worktrees/git/runner.py")
ITS_CHILD = Path("worktrees/git/child.py")  # knows of no program: what it starts is handed to it by the one place
STARTERS = re.compile(
    r"(subprocess|asyncio)\.(run|call|check_call|check_output|Popen|getoutput|create_subprocess_\w+|getstatusoutput)"
    r"|os\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*)|subprocess_exec|subprocess_shell"
)


@functools.cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    return tuple((file.relative_to(ROOT), ast.parse(file.read_text("utf-8"))) for file in sorted(ROOT.rglob("*.py")))


def starts(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and STARTERS.search(ast.unparse(node.func)):
            yield node


def names_git(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) and re.match(r"(?:\S*/)?git(?:\s|$)", part.value)
        for part in ast.walk(node)
    )


def test_in_this_package_one_module_starts_programs() -> None:
    starting = {path for path, tree in sources() if path.parts[0] == "worktrees" and any(starts(tree))}
    assert starting == {ITS_CHILD, ONE_PLACE}


def test_only_the_one_place_makes_a_child() -> None:
    made = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "agentpane.worktrees.git.child"
    }
    assert made == {ONE_PLACE}


def test_nowhere_else_is_a_program_started_that_is_called_git() -> None:
    found = [
        f"{path}:{call.lineno}"
        for path, tree in sources()
        if path not in {ONE_PLACE, ITS_CHILD}
        for call in starts(tree)
        if names_git(call)
    ]
    assert found == []


def test_nowhere_else_is_there_a_command_line_that_begins_with_git() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.List | ast.Tuple)
        and len(node.elts) > 1
        and isinstance(node.elts[0], ast.Constant)
        and node.elts[0].value == "git"
        and path.parts[0] != "worktrees"
    ]
    assert found == []


def test_gitpython_is_used_for_opening_alone() -> None:
    used: dict[str, set[str]] = {}
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"git", "gitdb"}:
                used.setdefault(str(path), set()).update(name.name for name in node.names)
            if isinstance(node, ast.Import) and any(name.name.split(".")[0] in {"git", "gitdb"} for name in node.names):
                used.setdefault(str(path), set()).add("*")
    assert used == {
        "worktrees/repository.py": {
            "GitConfigParser",
            "InvalidGitRepositoryError",
            "NoSuchPathError",
            "PathLike",
            "Repo",
        }
    }
