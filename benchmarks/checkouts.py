"""Repositories for the rows about worktrees, and what git alone takes in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDERS = 100
LINES = 60
FRESH_SECONDS = 2.5  # a configuration that was only just written is read anew at every call, as no real one is


def make_repository(folder: Path, files: int) -> str:
    """A repository with one commit of `files` small files in some hundred folders. Returns the commit."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "Bench")
    git(folder, "config", "user.email", "bench@example.invalid")
    git(folder, "config", "gc.auto", "0")
    for number in range(files):
        place = folder / f"d{number % FOLDERS}" / f"e{number % 7}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{number}.txt").write_text(f"{number} is what this line is about\n" * LINES)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "base")
    git(folder, "repack", "-a", "-d", "-q")
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip("\n")


def spawn_git() -> None:
    """Start git and let it do nothing: the least that any use of it can take."""
    subprocess.run(["git", "--version"], capture_output=True, check=True)
