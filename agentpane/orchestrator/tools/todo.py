"""TodoWrite: the agent's own list of what is to be done, shown on the card."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from agentpane.domain.tasks import Todo, TodoState
from agentpane.orchestrator.tools.base import OnOutput, Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.shape import ModelTool

MOST = 100
MARKS = {TodoState.PENDING: "[ ]", TodoState.IN_PROGRESS: "[~]", TodoState.COMPLETED: "[x]"}


class TodoItem(BaseModel):
    """One line of the list."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    content: str = Field(min_length=1, max_length=500, description="What is to be done.")
    status: TodoState = Field(TodoState.PENDING, description="At most one item is in_progress.")


class TodoInput(ToolInput):
    todos: list[TodoItem] = Field(max_length=MOST, description="The whole list; it takes the place of the one before.")


async def _write(wanted: TodoInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    todos = tuple(Todo(" ".join(item.content.split()), item.status) for item in wanted.todos)
    if any(not todo.text for todo in todos):
        raise Refusal("An item of the list is empty.")
    if sum(todo.state is TodoState.IN_PROGRESS for todo in todos) > 1:
        raise Refusal("More than one item is in_progress. Work at one after the other.")
    done = sum(todo.state is TodoState.COMPLETED for todo in todos)
    lines = [f"{MARKS[todo.state]} {todo.text}" for todo in todos]
    summary = f"{done} of {len(todos)} done"
    return ToolResult("\n".join([f"The list is kept: {summary}.", *lines]), False, summary, {}, todos=todos)


TODO_WRITE = ModelTool(
    name="TodoWrite",
    description=(
        "Keeps your list of what is to be done, which the person sees on the card. Use it for work of several steps, "
        "and bring it up to date when a step begins or is done."
    ),
    model=TodoInput,
    work=_write,
    target=(),
)
