"""AskUser and Task: what only somebody else can answer or do. The call waits for it, over a restart if need be."""

from __future__ import annotations

from pydantic import Field

from agentpane.orchestrator.tools.base import OnOutput, Refusal, ToolContext, ToolHost, ToolInput, ToolResult
from agentpane.orchestrator.tools.outputs import bounded
from agentpane.orchestrator.tools.shape import ModelTool

MOST_OPTIONS = 10


class AskInput(ToolInput):
    question: str = Field(min_length=1, max_length=4_000, description="The question, with what is needed to answer it.")
    options: list[str] = Field(
        default_factory=list,
        max_length=MOST_OPTIONS,
        description="Answers to choose from; the person may also say something else.",
    )


class TaskInput(ToolInput):
    description: str = Field(min_length=1, max_length=200, description="The task in three to seven words.")
    prompt: str = Field(
        min_length=1, description="All that the sub-agent needs to know: it sees nothing of this conversation."
    )
    agent: str = Field("", description="A configured agent of this project to do it; one like you unless given.")


async def _ask(wanted: AskInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    answer = await _host(context).ask(wanted.question, tuple(wanted.options))
    return ToolResult(f"The person answers: {answer}", False, " ".join(answer.split())[:200], {})


async def _delegate(wanted: TaskInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    done = await _host(context).delegate(wanted.description, wanted.prompt, wanted.agent or None)
    content, kept = await bounded(done.content, context)
    return ToolResult(content, done.is_error, done.summary, {**done.data, **kept}, done.error_code)


def _host(context: ToolContext) -> ToolHost:
    if context.host is None:
        raise Refusal("There is nobody here who could be asked. Go on as you think best.")
    return context.host


ASK_USER = ModelTool(
    name="AskUser",
    description=(
        "Asks the person a question and waits for the answer, however long that takes. Only for what you cannot find "
        "out and what would change the result."
    ),
    model=AskInput,
    work=_ask,
    target=("question",),
)
TASK = ModelTool(
    name="Task",
    description=(
        "Lets a sub-agent do a part of the work in the same worktree, with a conversation of its own, and gives you "
        "its last words. Good for a search or a change that needs much reading of which you need only the outcome. "
        "Several that only read may work at the same time."
    ),
    model=TaskInput,
    work=_delegate,
    target=("description", "prompt"),
)
