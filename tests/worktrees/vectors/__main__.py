"""`python -m tests.worktrees.vectors` writes docs/git-vectors.md."""

from .document import DOCUMENT, render

if __name__ == "__main__":
    DOCUMENT.write_text(render())
