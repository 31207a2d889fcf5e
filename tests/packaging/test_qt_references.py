"""Calling Qt many times neither loses references to None nor ends the interpreter."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from PySide6.QtWidgets import QApplication, QLabel
app = QApplication([])
label = QLabel()
before = sys.getrefcount(None)
for number in range(10_000):
    label.setText("a")
    label.setToolTip("b")
print(before - sys.getrefcount(None))
"""


def test_ten_thousand_calls_that_return_none_keep_the_references_to_none() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100
