"""The environment of a command that we do not trust: an allow-list, in which no secret has a name.

Tools find their compilers and interpreters through it, and nothing else of the person's session.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Where toolchains live: passed on only when they name a folder.
FOLDERS = ("GOROOT", "JAVA_HOME", "NVM_DIR", "PYENV_ROOT", "RUSTUP_HOME", "VIRTUAL_ENV")
LANGUAGE = ("LANG", "LANGUAGE", "TZ")

QUIET = {
    "CI": "1",
    "DEBIAN_FRONTEND": "noninteractive",
    "GIT_EDITOR": "true",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TERM": "dumb",
}


def tool_environment(worktree: Path) -> dict[str, str]:
    """The environment for a command in `worktree`. HOME is the person's, which tier A covers with an empty one."""
    environment = {name: value for name, value in os.environ.items() if name in LANGUAGE or name.startswith("LC_")}
    environment.update(
        {name: os.environ[name] for name in FOLDERS if os.path.isabs(os.environ.get(name, "")) and _is_folder(name)}
    )
    environment.update(QUIET)
    environment.setdefault("LANG", "C.UTF-8")
    environment["PATH"] = os.pathsep.join(str(folder) for folder in path_folders()) or DEFAULT_PATH
    environment["HOME"] = str(home_folder())
    environment["PWD"] = str(worktree)
    environment["SHELL"] = shell()
    environment["TMPDIR"] = "/tmp"
    return environment


def home_folder() -> Path:
    """The person's home, or a name for one when they have none."""
    home = Path(os.path.abspath(os.environ.get("HOME") or "/"))
    return home if len(home.parts) > 1 else Path("/home/agent")


def path_folders() -> tuple[Path, ...]:
    """The folders of PATH that exist; relative ones, which would mean the worktree, are left out."""
    named = os.environ.get("PATH", DEFAULT_PATH).split(os.pathsep)
    return tuple(dict.fromkeys(Path(name) for name in named if os.path.isabs(name) and os.path.isdir(name)))


def shell() -> str:
    for candidate in ("/bin/bash", "/usr/bin/bash"):
        if os.access(candidate, os.X_OK):
            return candidate
    return shutil.which("bash") or "/bin/sh"


def _is_folder(variable: str) -> bool:
    return os.path.isdir(os.environ[variable])
