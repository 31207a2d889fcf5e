"""Patches as git prints them, for the review's tests."""

from __future__ import annotations

from agentpane.domain.review import FileDiff

PATCH = b"""\
diff --git a/ledger/tax.py b/ledger/tax.py
index 1111111..2222222 100644
--- a/ledger/tax.py
+++ b/ledger/tax.py
@@ -1,4 +1,5 @@
 RATES = {}
-def tax(amount):
-    return int(amount)
+def tax(amount, rate):
+    # rounded
+    return round(amount * rate, 2)
 # end
@@ -20,2 +21,2 @@ def total(lines):
-    result = 0
+    result = 1
     return result
diff --git a/docs/\xe2\x80\xaebad.md b/docs/\xe2\x80\xaebad.md
new file mode 100644
index 0000000..3333333
--- /dev/null
+++ b/docs/\xe2\x80\xaebad.md
@@ -0,0 +1,2 @@
+# Tax <img src=file:///etc/passwd>
+\ttabbed \x1b[31mred
\\ No newline at end of file
diff --git a/logo.png b/logo.png
new file mode 100644
index 0000000..4444444
Binary files /dev/null and b/logo.png differ
"""

FILES = (
    FileDiff("ledger/tax.py", None, "M", 4, 3, False),
    FileDiff("docs/\u202ebad.md", None, "A", 2, 0, False),
    FileDiff("logo.png", None, "A", None, None, True),
)


def long_patch(files: int, lines: int) -> bytes:
    """A patch of many files, each with one hunk of so many lines."""
    parts: list[bytes] = []
    for number in range(files):
        name = b"src/module_%d.py" % number
        parts.append(b"diff --git a/%b b/%b\nindex 1..2 100644\n--- a/%b\n+++ b/%b\n" % (name, name, name, name))
        parts.append(b"@@ -1,%d +1,%d @@\n" % (lines, lines))
        parts += [b"-old line %d = 'x'\n+new line %d = 'y'\n" % (line, line) for line in range(lines)]
    return b"".join(parts)


MODES_PATCH = b"""\
diff --git a/.gitattributes b/.gitattributes
new file mode 100644
index 0000000..1111111
--- /dev/null
+++ b/.gitattributes
@@ -0,0 +1 @@
+*.py binary
diff --git a/deploy.sh b/deploy.sh
old mode 100644
new mode 100755
diff --git a/docs/notes b/docs/notes
new file mode 120000
index 0000000..2222222
--- /dev/null
+++ b/docs/notes
@@ -0,0 +1 @@
+/etc/passwd
\\ No newline at end of file
diff --git a/vendor/lib b/vendor/lib
new file mode 160000
index 0000000..3333333
--- /dev/null
+++ b/vendor/lib
@@ -0,0 +1 @@
+Subproject commit 3333333333333333333333333333333333333333
"""

MODES = (
    FileDiff(".gitattributes", None, "A", 1, 0, False, "000000", "100644"),
    FileDiff("deploy.sh", None, "M", 0, 0, False, "100644", "100755"),
    FileDiff("docs/notes", None, "A", 1, 0, False, "000000", "120000", "/etc/passwd"),
    FileDiff("vendor/lib", None, "A", 1, 0, False, "000000", "160000", "3" * 40),
)
