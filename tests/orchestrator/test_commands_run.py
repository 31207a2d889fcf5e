"""Commands made at random are judged, and those that are allowed are run by a real bash: nothing else may run.

Each is a few pieces of the shell's language around `touch made`. Where a rule forbids `touch`, or only commands that
change nothing are allowed, no file may be there afterwards.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentpane.domain.policy import Effect, Grants, Judgement, Policy, Use, judge
from agentpane.domain.rules import parse_all
from agentpane.domain.sandbox import Tier
from agentpane.orchestrator.permissions.shell_parts import read

MADE = "made"
BOUND_S = 5.0  # for one command
FENCE = Grants(("Bash",), Policy.BALANCED, Tier.BUBBLEWRAP, parse_all(["deny Bash(touch:*)"]))
GATE = Grants(
    ("Bash",),
    Policy.CAREFUL,
    Tier.BUBBLEWRAP,
    parse_all([f"allow Bash({name}:*)" for name in ("echo", "cat", "ls", "true", "printf", "test")]),
)

SEEDS = [
    "`touch made`",
    "$(touch made)",
    "touch made",
    " $(touch made)",
    '"`touch made`"',
    '"$(touch made)"',
    "${a:-`touch made`}",
    "${a:-$(touch made)}",
    '"${a:-`touch made`}"',
    "${a:=`touch made`}",
    "<(touch made)",
    ">(touch made)",
    "$((`touch made`))",
    "$(($(touch made)))",
    "$[$(touch made)]",
    "'a[$(touch made)]'",
    "\\`touch made\\`",
    "$'a\\\\' $(touch made) 'b\\'",
    "' $(touch made) '",
]
FRAMES = [
    "cat <<EOF\n%s\nEOF\n",
    "cat <<-EOF\n\t%s\n\tEOF",
    "cat <<'EOF'\n%s\nEOF",
    "cat <<EOF | cat\nx%s\nEOF",
    "cat <<EOF\n${x:-%s}\nEOF",
    "cat <<EOF\n$%s\nEOF",
    "cat <<EOF\n\\\\%s\nEOF",
    "cat <<EOF && %s\nEOF",
    "cat <<< %s",
    "cat < %s",
    "echo > %s",
    'echo "%s"',
    'echo "a$ %s"',
    'echo "a$%sb"',
    "echo '%s'",
    "echo $'%s'",
    'echo $"%s"',
    "echo a%s",
    "echo ${x:-%s}",
    'echo "${x:-%s}"',
    "echo \"${x:-'%s'}\"",
    'echo "${x:-"%s"}"',
    "echo ${x/%s/b}",
    "echo ${x[%s]}",
    "echo ${x@%s}",
    "echo $((1+%s))",
    "echo $[ %s ]",
    "echo `echo %s`",
    "echo `echo # %s`\necho",
    'echo "$(echo %s)"',
    "echo $(echo # %s)\n)",
    "echo {a,%s}",
    "echo %s # x",
    "echo #%s",
    "echo \\%s",
    "echo <(%s)",
    "echo @(%s)",
    "printf -v %s x",
    "test -v %s",
    "[ %s ]",
    "[[ -v %s ]]",
    "[[ a == %s ]]",
    "[[ a =~ %s ]]",
    "(( %s ))",
    "let %s",
    "declare %s",
    "export a=%s",
    "unset %s",
    "read %s <<< x",
    "a=%s echo",
    "a=(%s)",
    "a[%s]=1",
    "x=%s; echo $((x))",
    "x=%s; echo ${!x}",
    "case %s in a) echo;; esac",
    "case a in %s) echo;; esac",
    "for i in %s; do echo; done",
    "for ((i=%s;i<1;i++)); do echo; done",
    "if false; then echo; elif %s; then echo; else echo; fi",
    "until echo %s; do break; done",
    "select x in %s; do echo; done </dev/null",
    "f() { echo %s; }; f",
    "(echo %s)",
    "{ echo %s; }",
    "! %s",
    "time %s",
    "coproc { %s; }",
    'trap "%s" EXIT',
    "trap '%s' EXIT",
    "eval 'echo %s'",
    'eval "echo %s"',
    "bash -c 'echo %s'",
    "bash -ec 'echo %s'",
    "bash -c -e 'echo %s'",
    "bash -o posix -c 'echo %s'",
    "echo '%s' | bash",
    "bash <<< '%s'",
    "bash <<'EOF'\n%s\nEOF",
    "env -S '%s'",
    "alias e='%s'",
    "mapfile -C '%s' -c 1 <<< x",
]
PIECES = [
    "echo ",
    "cat ",
    "\n",
    ";",
    "&",
    "&&",
    "<<EOF\n",
    "\nEOF\n",
    "<<'EOF'\n",
    "<<< ",
    '"',
    "'",
    "$",
    "{",
    "}",
    "(",
    ")",
    " ",
    "\t",
    "x",
    "$x",
    "${x",
    "#",
    "[[ ",
    " ]]",
    "> /dev/null",
    "2>&1",
    "case x in x) ",
    ";;",
    " esac",
    "a=",
    "a[0]=",
    "(( ",
    "))",
    "$((",
    "$'",
    '$"',
    "\\",
    "EOF",
    "<(",
    "-",
    "=",
    "{a,",
    "@(",
    "*",
    "`",
    "\\'",
    "\\\\",
]


def commands(seed: int, count: int) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(count):
        text = chance.choice(SEEDS)
        if chance.random() < 0.4:
            text = chance.choice(PIECES) + text
        if chance.random() < 0.3:
            text += chance.choice(PIECES)
        for _ in range(chance.choice((0, 1, 1, 1, 2))):
            text = chance.choice(FRAMES).replace("%s", text)
        yield text if chance.random() < 0.8 else f"echo {chance.choice(PIECES)}{text}{chance.choice(PIECES)}"


def is_allowed(command: str, grants: Grants) -> bool:
    use = Use("Bash", Effect.EXECUTE, command=command)
    return judge(use, grants, read(command)).judgement is Judgement.ALLOW


def made_by(command: str, folder: Path) -> list[str]:
    """The files that are in an empty folder after bash has run the command there."""
    shell = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        shell.wait(BOUND_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    found = sorted(os.listdir(folder))
    for name in found:
        (folder / name).unlink()
    return found


def holes(seed: int, count: int, folder: Path) -> tuple[list[str], int]:
    """What did what no rule allows, and how many commands were run."""
    found, ran = [], 0
    for command in dict.fromkeys(commands(seed, count)):
        fenced, gated = is_allowed(command, FENCE), is_allowed(command, GATE)
        if not (fenced or gated):
            continue
        ran += 1
        made = made_by(command, folder)
        if MADE in made or (made and gated):
            found.append(f"{'fence' if fenced else ''} {'gate' if gated else ''}: {command!r} made {made}")
    return found, ran


def test_bash_runs_nothing_that_was_not_seen(tmp_path: Path) -> None:
    assert shutil.which("bash", path="/usr/bin:/bin")
    found, ran = holes(1, 2_000, tmp_path)
    assert not found, "\n".join(found)
    assert ran > 100  # or the rules allow nothing, and nothing has been tried


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 8))
def test_bash_runs_nothing_that_was_not_seen_in_many_more(seed: int, tmp_path: Path) -> None:
    found, ran = holes(seed, 12_000, tmp_path)
    assert not found, "\n".join(found)
    assert ran > 600


def test_a_command_that_is_not_judged_does_make_the_file(tmp_path: Path) -> None:
    """Or the tests above would see nothing."""
    assert made_by("echo `touch made`", tmp_path) == [MADE]
    assert made_by("echo x > other", tmp_path) == ["other"]
