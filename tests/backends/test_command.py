"""A shell command as an agent: how it gets the task's text, and how its output is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpane.domain.agents import AgentConfig
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import base
from agentpane.orchestrator.backends.command import CommandBackend
from agentpane.orchestrator.backends.command.plain import PlainText
from tests.backends.conformance import Host, Place, said
from tests.backends.playing import follow
from tests.backends.rig import of_kind

NASTY = """$(touch hacked) `touch hacked` "; touch hacked; ' && touch hacked #\nsecond line"""


async def run(place: Place, command: str, host: Host | None = None, **changes: object) -> list[base.BackendEvent]:
    brief = place.brief({"agent": AgentConfig(command=command)}, **changes)
    return await follow(CommandBackend(), brief, host)


@pytest.mark.parametrize(
    "command",
    [
        "cat > told",
        "printf %s {prompt} > told",
        'printf %s "{prompt}" > told',
        "printf %s '{prompt}' > told",
        'printf %s "$AGENTPANE_PROMPT" > told',
        """if true; then (sh -c 'printf %s "$1" > told' _ {prompt} 2>&1); fi""",
        "env LANG=C timeout 60 bash -eo pipefail say.sh --loud=1 {prompt} >> told && echo \\$x",
        """python3 -c 'import sys; open("told", "w").write(sys.argv[1])' "{prompt}" | cat > /dev/null""",
    ],
)
async def test_the_tasks_text_arrives_whole_and_is_never_run(place: Place, command: str) -> None:
    (place.worktree / "say.sh").write_text('printf %s "$2"')
    await run(place, command, history=(said("user", NASTY),))
    assert (place.worktree / "told").read_text() == NASTY
    assert not (place.worktree / "hacked").exists()


async def test_a_prompt_inside_of_other_words_keeps_its_place(place: Place) -> None:
    await run(place, r"""printf %s "a \"{prompt}\" b"' {prompt} 'c > told""", history=(said("user", "x  y"),))
    assert (place.worktree / "told").read_text() == 'a "x  y" b x  y c'


REFUSED = [
    "bash -c 'echo {prompt}'",
    'bash -c "echo {prompt}"',
    "bash -o pipefail -c -- {prompt}",
    "bash -eo pipefail -c -- '{prompt}'",
    "bash {prompt}",
    "/bin/sh -ec 'echo {prompt}' x",
    "env X=1 sh -c 'echo {prompt}'",
    'eval "echo {prompt}"',
    "true; command eval echo {prompt}",
    "if eval echo {prompt}; then :; fi",
    "$SHELL -c 'echo {prompt}'",
    "$RUN {prompt}",
    "xargs -I% sh -c 'echo %' {prompt}",
    "find . -exec sh -c 'echo {prompt}' ';'",
    "ssh host echo {prompt}",
    "su -c 'echo {prompt}' me",
    "python3 -c 'print({prompt})'",
    "python3 -Wignore -c {prompt}",
    "perl -ne'{prompt}' a",
    "psql --command='{prompt}'",
    "git rebase -x 'echo {prompt}' main",
    "sed 's/a/{prompt}/e' a",
    "awk '{prompt}' a",
    "make X={prompt}",
    "trap 'echo {prompt}' EXIT",
    'alias x="{prompt}"',
    'test -v "{prompt}"',
    "[ {prompt} -eq 1 ]",
    "[[ {prompt} -eq 1 ]]",
    'printf -v "{prompt}" x',
    "printf {prompt} x",
    "(( {prompt} ))",
    "echo $(({prompt}))",
    "echo $[{prompt}]",
    'echo "$(echo {prompt})"',
    "echo `echo {prompt}`",
    "echo ${x:-{prompt}}",
    "cat <(echo {prompt})",
    "bash <<EOF\necho {prompt}\nEOF",
    "bash <<< {prompt}",
    "echo a # it's\nbash -c ' {prompt}'",
    "echo $'it\\'s' {prompt}",
    "f() { eval $1; }; f {prompt}",
    "X=({prompt})",
    "X={prompt} true",
    "for x in {prompt}; do eval $x; done",
    "case {prompt} in *) ;; esac",
    "{prompt}",
    "exec {prompt}",
    "timeout 5 {prompt}",
    "time -p {prompt}",
    "echo > {prompt}",
    'echo "{prompt}',
]


@pytest.mark.parametrize("command", REFUSED)
async def test_where_the_text_might_be_run_or_taken_apart_it_is_refused(place: Place, command: str) -> None:
    with pytest.raises(AgentPaneError, match=r"\{prompt\} stands") as caught:
        CommandBackend().check(AgentConfig(command=command))
    assert (caught.value.code, caught.value.details["field"]) == (ErrorCode.VALIDATION_ERROR, "command")
    assert '"$AGENTPANE_PROMPT"' in caught.value.hint
    with pytest.raises(AgentPaneError, match=r"\{prompt\} stands"):
        await run(place, command, history=(said("user", "hi; touch pwn; $(touch pwn)"),))
    assert not (place.worktree / "pwn").exists()
    CommandBackend().check(AgentConfig(command=command.replace("{prompt}", '"$AGENTPANE_PROMPT"')))


@pytest.mark.parametrize(
    "command",
    [
        'claude -p "Do this: {prompt}" --model "$MODEL"',
        "cd sub && codex exec -- {prompt} 2>&1 | tee log",
        "npx @openai/codex exec --full-auto {prompt} > log",
        '"$HOME/bin/agent" --message={prompt}; echo done',
        "python3 -m aider --yes --message {prompt}",
        "while true; do { node agent.js {prompt} && break; }; done",
        "git commit -am '{prompt}'",
    ],
)
def test_as_an_argument_of_an_agent_it_is_accepted(command: str) -> None:
    CommandBackend().check(AgentConfig(command=command))


async def test_feedback_follows_the_task(place: Place) -> None:
    history = (said("user", "Do it"), said("assistant", "Done."), said("user", "Not so."))
    await run(place, "cat > told", Host(says={5: ("And quickly.",)}), history=history, first_turn=5)
    assert (place.worktree / "told").read_text() == "Do it\n\nNot so.\n\nAnd quickly."


async def test_it_works_in_the_worktree_and_knows_its_task_and_no_key(place: Place) -> None:
    events = await run(place, 'pwd; echo "$AGENTPANE_TASK_ID"; env | grep -ci key; true')
    said = of_kind(events, base.TextBlock)[0]
    assert (said.text.splitlines(), said.plain) == ([str(place.worktree), "task", "0"], True)


async def test_output_is_shown_while_it_runs(place: Place) -> None:
    events = await run(place, "echo one; until [ -e go ]; do touch go; done; echo two")
    assert "".join(event.text for event in of_kind(events, base.ToolOutput)) == "one\ntwo\n"


async def test_a_failure_says_the_exit_code_and_the_last_lines(place: Place) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await run(place, "echo nothing to format >&2; exit 7")
    assert caught.value.code is ErrorCode.AGENT_EXECUTION_ERROR
    assert caught.value.details == {"exit_code": 7, "output": "nothing to format"}
    assert "exit code 7" in caught.value.message


@pytest.mark.parametrize("command", [None, "", "  "])
def test_without_a_command_there_is_no_agent(command: str | None) -> None:
    with pytest.raises(AgentPaneError) as caught:
        CommandBackend().check(AgentConfig(command=command))
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.details == {"field": "command"}


async def test_a_text_that_fits_no_variable_still_comes_on_standard_input(place: Place) -> None:
    long = "ü" * 100_000
    await run(place, "wc -c > told", history=(said("user", long),))
    assert (place.worktree / "told").read_text().split() == ["200000"]
    with pytest.raises(AgentPaneError, match="too long"):
        await run(place, "echo {prompt}", history=(said("user", long),))


PIECES = st.lists(
    st.sampled_from(["\x1b[31mred\x1b[0m", "plain", "\x1b]0;title\x07", "ü🦜", "a\r\nb", "\x1b(B", "\x07", "\n"])
)


@given(PIECES, st.integers(1, 5))
def test_control_sequences_go_wherever_the_output_is_cut(pieces: list[str], size: int) -> None:
    data = "".join(pieces).encode()
    whole, cut = PlainText(), PlainText()
    expected = whole.take(data, last=True)
    parts = [cut.take(data[start : start + size]) for start in range(0, len(data), size)]
    assert "".join(parts) + cut.take(b"", last=True) == expected
    assert "\x1b" not in expected
    assert "title" not in expected
