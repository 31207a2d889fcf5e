"""The one entry: the window, the engine's process, or a headless command. Each loads only what it needs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

NEW_WINDOW = "--new-window"
# What is loaded are hundreds of thousands of objects that stay: Python's own thresholds have them walked over and over,
# which is a third of the time that an engine takes to start.
GARBAGE_THRESHOLDS = (50_000, 20, 50)


def main() -> int:
    """Read the command line and do what it says. Returns the exit status."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    arguments = sys.argv[1:]
    if arguments in ([], [NEW_WINDOW]):
        return open_window([], new_window=NEW_WINDOW in arguments)
    if arguments in (["engine"], ["serve"]):
        from agentpane.orchestrator.main import run_engine

        return _ending(run_engine(serve=arguments == ["serve"]))
    from agentpane.cli.app import main as command

    return _ending(command(arguments, open_window))


def _ending(status: int) -> int:
    """Python looks through all that is loaded when it ends, which takes as long as a command does; it need not."""
    if "PySide6" not in sys.modules:
        gc.freeze()
    return status


def open_window(arguments: Sequence[str], new_window: bool = False) -> int:
    """Open the window; this process becomes it."""
    from agentpane.ui.app import main as window

    return window(arguments, new_window)


if __name__ == "__main__":
    sys.exit(main())
