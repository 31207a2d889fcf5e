"""The lines of a text that match a pattern, in a process of its own: one that never comes to an end can be killed.

Started by the tools with the pattern and the text as JSON on standard input.
"""

from __future__ import annotations

import json
import re
import sys


def main() -> None:
    pattern, text = json.load(sys.stdin)
    expression = re.compile(pattern)
    for line in text.splitlines():
        if expression.search(line):
            print(line.encode("utf-8", "replace").decode())
