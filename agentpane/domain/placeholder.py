"""`{prompt}` in a shell command: where it may stand, and what the shell reads in its place.

The task's text is data. It is handed over as one quoted word, and only where a plain command takes it as an argument:
whatever would read that word as code, or takes it apart first, is refused. What is refused need not be harmful; what
is accepted leaves no doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentpane.domain.limits import invalid
from agentpane.errors import AgentPaneError

PROMPT = "{prompt}"
PROMPT_VARIABLE = "AGENTPANE_PROMPT"

_PARAMETER = {  # by the quote that stands around it
    "": f'"${{{PROMPT_VARIABLE}}}"',
    '"': f"${{{PROMPT_VARIABLE}}}",
    "'": f"""'"${{{PROMPT_VARIABLE}}}"'""",
}
_TEXT, _UNKNOWN = "\1", "\0"  # in a word: the task's text, and what only the shell knows


def _named(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words of the shell before a command, and those after which there is none.
_BEFORE = _named("if then elif else while until do ! time { command builtin")
_NO_COMMAND = _named("for select case function coproc [[ in")
# These take some of their words for code, for names that are expanded, or for a command of its own.
_EVALUATING = _named(
    "eval ssh rsh su runuser sg xargs awk gawk mawk nawk sed gsed make gmake tmux nix-shell flock mapfile readarray"
)
# The same; but other commands have words like these.
_EVALUATING_FIRST = _named(
    ". source trap alias let declare typeset local export readonly unset read test [ printf getopts bind complete "
    "compgen enable hash script watch parallel screen expect at batch entr"
)
_FORMAT = re.compile(r"[^-\0\1]")  # what printf may begin with, lest it be the name of a variable
_WRAPPING = _named("exec nohup nice ionice setsid stdbuf env sudo doas timeout xvfb-run chronic unbuffer strace")
_SHELLS = _named("ash bash busybox csh dash fish ksh mksh sh tcsh toybox zsh")
_INTERPRETERS = re.compile(
    r"(python|pypy|perl|ruby|node|nodejs|deno|bun|php|lua|luajit|tclsh|Rscript|osascript|pwsh|julia)[0-9.]*"
)
_CODE_FOLLOWS = re.compile(r"-[A-Za-z]{0,2}[cex]|-exec(dir)?|-ok(dir)?|--(command|eval|exec|execute|run|shell)")
_CODE_WITHIN = re.compile(r"(-[cex]|--(command|eval|exec|execute|run|shell)=).*", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[^]]*\])?\+?=.*", re.DOTALL)
_AMOUNT = re.compile(r"[0-9.]+[smhd]?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]")


def check_prompt(command: str) -> None:
    """Raises AgentPaneError with VALIDATION_ERROR where `{prompt}` stands in a place in which it is not plain data."""
    if PROMPT in command:
        for one in _Scan(command).commands():
            _check(one)


def with_parameter(command: str) -> str:
    """The command with each `{prompt}` as a shell parameter that is one word. Raises as `check_prompt` does."""
    if PROMPT not in command:
        return command
    check_prompt(command)
    scan = _Scan(command)
    for _ in scan.commands():
        pass
    return "".join(scan.script)


@dataclass(frozen=True, slots=True)
class _Command:
    """A simple command. targets: the files of its redirections, and what else is no argument."""

    words: Sequence[str]
    targets: Sequence[str]


class _Scan:
    """Reads a command that has none but the plainest constructs. script: what was read, with the parameter in it."""

    def __init__(self, text: str) -> None:
        self.script: list[str] = []
        self._text = text
        self._at = 0
        self._quote = ""
        self._word: list[str] | None = None
        self._words: list[str] = []
        self._targets: list[str] = []
        self._is_target = False

    def commands(self) -> Iterator[_Command]:
        """Raises AgentPaneError with VALIDATION_ERROR for a construct in which quotes mean something else."""
        while self._at < len(self._text):
            if self._text.startswith(PROMPT, self._at):
                self.script.append(_PARAMETER[self._quote])
                self._put(_TEXT)
                self._at += len(PROMPT)
                continue
            size = self._quoted() if self._quote else self._plain()
            self.script.append(self._text[self._at : self._at + size])
            ends = not self._quote and self._text[self._at] in "\n;&|()"
            self._at += size
            if ends:
                yield self._end()
        if self._quote:
            raise _refused("inside a quote that does not end")
        yield self._end()

    def _plain(self) -> int:
        """Take what stands at this place outside of quotes; how many characters that is."""
        character = self._text[self._at]
        following = self._text[self._at + 1 : self._at + 2]
        if character in " \t\n;&|)":
            self._end_word()
        elif character == "(":
            if self._word is not None or following == "(" or not _BEFORE.issuperset(self._words):
                raise _refused("beside a function, an array or a calculation")
        elif character in "<>":
            return self._redirection(following)
        elif character in "\"'":
            self._quote = character
            self._put("")
        elif character == "#" and self._word is None:
            raise _refused("beside a comment")
        else:
            return self._either(character, following)
        return 1

    def _quoted(self) -> int:
        character = self._text[self._at]
        if character == self._quote:
            self._quote = ""
        elif self._quote == "'":
            self._put(character)
        else:
            return self._either(character, self._text[self._at + 1 : self._at + 2])
        return 1

    def _either(self, character: str, following: str) -> int:
        """What means the same within double quotes and without."""
        if character == "\\":
            self._put("" if following == "\n" else following)
            return 2
        if character == "`":
            raise _refused("beside a substitution")
        if character != "$":
            self._put(character)
            return 1
        name = _NAME.match(self._text, self._at + 1)
        if name is None and following and (following in "({[" or (not self._quote and following in "\"'")):
            raise _refused("beside a substitution")
        self._put("$" if name is None else _UNKNOWN)
        return 1 if name is None else 1 + len(name[0])

    def _redirection(self, following: str) -> int:
        if following in ("(", "<"):
            raise _refused("beside a here-document or a substitution" if following == "<" else "beside a substitution")
        if self._word is not None and "".join(self._word).isdigit():
            self._word = None
        self._end_word()
        self._is_target = True
        return 2 if following in (">", "&", "|") else 1

    def _put(self, piece: str) -> None:
        self._word = [*(self._word or ()), piece]

    def _end_word(self) -> None:
        if self._word is not None:
            (self._targets if self._is_target else self._words).append("".join(self._word))
            self._word, self._is_target = None, False

    def _end(self) -> _Command:
        self._end_word()
        done = _Command(tuple(self._words), tuple(self._targets))
        self._words, self._targets, self._is_target = [], [], False
        return done


def _check(command: _Command) -> None:
    if any(_TEXT in target for target in command.targets):
        raise _refused("in place of a file")
    words = list(command.words)
    if not any(_TEXT in word for word in words):
        return
    while words and (words[0] in _BEFORE or _ASSIGNMENT.fullmatch(words[0])):
        if _TEXT in words.pop(0):
            raise _refused("in the value of a variable")
    first = _base(words[0]) if words else ""
    if not first or first.startswith("-") or words[0] in _NO_COMMAND:
        raise _refused("where a command or a word of the shell stands")
    for at, word in enumerate(words):
        if _TEXT in word:
            _check_argument(words[:at], word, first)


def _check_argument(before: Sequence[str], word: str, first: str) -> None:
    """before: the command up to the word that holds the task's text."""
    for at, one in enumerate(before):
        name, leads = _base(one), at == 0 or first in _WRAPPING
        if name in _EVALUATING or (leads and name in _EVALUATING_FIRST):
            if name == "printf" and _FORMAT.match((*before[at + 1 :], word)[0]):
                continue
            raise _refused(f"among the words of “{name}”")
        runs = name in _SHELLS or _INTERPRETERS.fullmatch(name) or (leads and name in _WRAPPING)
        if runs and not _has_operand(before[at + 1 :], name in _SHELLS):
            raise _refused(f"where “{name}” takes what it runs from")
    if _CODE_FOLLOWS.fullmatch(before[-1]) or _CODE_WITHIN.fullmatch(word):
        raise _refused(f"after “{before[-1] if _CODE_FOLLOWS.fullmatch(before[-1]) else word.split(_TEXT)[0]}”")


def _has_operand(words: Sequence[str], shell: bool) -> bool:
    """Whether what is run, a command, a script or its text, is among these words, so that what follows is data."""
    values = 0
    for word in words:
        if values:
            values -= 1
        elif word[:1] not in ("-", "+") or word == "-":
            if word.startswith(_UNKNOWN):
                return False
            if not _ASSIGNMENT.fullmatch(word) and not _AMOUNT.fullmatch(word):
                return True
        elif shell:
            values = word.count("o") + word.count("O") if not word.startswith("--") else word.endswith("file")
    return False


def _base(word: str) -> str:
    """The name of the program that a word names; empty where only the shell knows it."""
    name = word.rsplit("/", 1)[-1]
    return "" if _TEXT in name or _UNKNOWN in name else name


def _refused(where: str) -> AgentPaneError:
    return invalid(
        "command",
        f"{PROMPT} stands {where}, where it would not be sure to stay plain text.",
        f"Let the command read the text on standard input, by leaving {PROMPT} out, "
        f'or write "${PROMPT_VARIABLE}" where a program takes it as an argument. Nothing has been run or changed.',
    )
