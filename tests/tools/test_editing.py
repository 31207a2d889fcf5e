"""MultiEdit, the list and the tools that ask somebody else; and what is remembered of files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentpane.domain.tasks import Todo, TodoState
from agentpane.orchestrator.tools import FileMemory, ToolContext, ToolResult

from .conftest import Call, caller


def edit(old: str, new: str, **more: object) -> dict[str, object]:
    return {"old_string": old, "new_string": new, **more}


async def test_edits_are_made_in_order_each_on_what_the_one_before_left(call: Call, worktree: Path) -> None:
    (worktree / "a.py").write_text("x = 1\ny = x\nz = x\n")
    await call("Read", file_path="a.py")
    edits = [edit("x = 1", "total = 1"), edit("= x", "= total", replace_all=True), edit("y = total", "w = total")]
    result = await call("MultiEdit", file_path="a.py", edits=edits)
    assert (worktree / "a.py").read_text() == "total = 1\nw = total\nz = total\n"
    assert (result.data["replacements"], result.data["added"], result.data["removed"]) == (4, 3, 3)
    assert "Edit 2, 2 places" in result.content


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (edit("nowhere", "x"), "of edit 2 does not occur"),
        (edit("e", "E"), "of edit 2 occurs 2 times"),
        (edit("two", "two"), "of edit 2 are the same"),
        (edit("", "x"), "of edit 2 is empty"),
    ],
)
async def test_one_edit_that_fails_leaves_the_file_as_it_is(
    call: Call, worktree: Path, last: dict[str, object], reason: str
) -> None:
    (worktree / "a").write_text("one\ntwo\nthree\n")
    (worktree / "a").chmod(0o640)
    before = (worktree / "a").stat()
    await call("Read", file_path="a")
    result = await call("MultiEdit", file_path="a", edits=[edit("one", "1"), last])
    after = (worktree / "a").stat()
    assert result.is_error and reason in result.content
    assert (worktree / "a").read_text() == "one\ntwo\nthree\n" and after.st_ino == before.st_ino


async def test_edits_that_undo_each_other_are_refused(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("one\n")
    await call("Read", file_path="a")
    assert (await call("MultiEdit", file_path="a", edits=[edit("one", "two"), edit("two", "one")])).is_error


async def test_several_edits_need_a_read_and_an_unchanged_file_too(call: Call, worktree: Path) -> None:
    (worktree / "a").write_text("one\n")
    assert "has not been read" in (await call("MultiEdit", file_path="a", edits=[edit("one", "two")])).content
    await call("Read", file_path="a")
    (worktree / "a").write_text("one\nmore\n")
    assert "has changed" in (await call("MultiEdit", file_path="a", edits=[edit("one", "two")])).content
    assert (worktree / "a").read_text() == "one\nmore\n"


async def test_line_ends_are_kept_by_several_edits(call: Call, worktree: Path) -> None:
    (worktree / "a").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    await call("Read", file_path="a")
    await call("MultiEdit", file_path="a", edits=[edit("one\ntwo", "1\n2"), edit("2\nthree", "2\n3")])
    assert (worktree / "a").read_bytes() == b"1\r\n2\r\n3\r\n"


async def test_what_was_seen_is_told_so_that_a_later_run_knows_it(context: ToolContext, worktree: Path) -> None:
    (worktree / "a").write_text("one\n")
    told = (await caller(context)("Read", file_path="a")).data["seen"]
    assert isinstance(told, dict)
    later = caller(replace(context, memory=FileMemory({str(told["path"]): str(told["sha256"])})))
    assert not (await later("Edit", file_path="a", old_string="one", new_string="two")).is_error
    (worktree / "a").write_text("changed meanwhile, one\n")
    stale = caller(replace(context, memory=FileMemory({str(told["path"]): str(told["sha256"])})))
    result = await stale("Edit", file_path="a", old_string="one", new_string="two")
    assert result.is_error and "has changed" in result.content


async def test_the_list_is_handed_over_whole(call: Call) -> None:
    todos = [{"content": "look", "status": "completed"}, {"content": "mend  it", "status": "in_progress"}]
    result = await call("TodoWrite", todos=[*todos, {"content": "check"}])
    assert result.todos == (
        Todo("look", TodoState.COMPLETED),
        Todo("mend it", TodoState.IN_PROGRESS),
        Todo("check", TodoState.PENDING),
    )
    assert result.summary == "1 of 3 done" and "[~] mend it" in result.content
    assert (await call("TodoWrite", todos=[])).todos == ()


@pytest.mark.parametrize(
    "todos",
    [
        [{"content": "a", "status": "in_progress"}, {"content": "b", "status": "in_progress"}],
        [{"content": "  "}],
        [{"content": "a", "status": "half done"}],
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(call: Call, todos: list[dict[str, str]]) -> None:
    result = await call("TodoWrite", todos=todos)
    assert result.is_error and result.todos is None


@dataclass(slots=True)
class Answering:
    """A host that answers at once and notes what it was asked."""

    asked: list[object] = field(default_factory=list)

    async def ask(self, question: str, options: tuple[str, ...]) -> str:
        self.asked.append((question, options))
        return "the second"

    async def delegate(self, description: str, prompt: str, agent: str | None) -> ToolResult:
        self.asked.append((description, prompt, agent))
        return ToolResult("x" * 40_000, False, "done", {"run_id": "r"})


async def test_a_question_and_a_task_are_put_to_the_host(context: ToolContext) -> None:
    host = Answering()
    call = caller(replace(context, host=host))
    answer = await call("AskUser", question="Which?", options=["first", "second"])
    assert answer.content == "The person answers: the second"
    done = await call("Task", description="look", prompt="Look for it.", agent="")
    assert host.asked == [("Which?", ("first", "second")), ("look", "Look for it.", None)]
    assert done.data["run_id"] == "r" and "characters left out" in done.content and len(done.content) < 30_200


async def test_with_nobody_to_ask_the_model_is_told_so(call: Call) -> None:
    for tool, inputs in (("AskUser", {"question": "Which?"}), ("Task", {"description": "a", "prompt": "b"})):
        result = await call(tool, **inputs)
        assert result.is_error and "nobody" in result.content
