"""ExitPlanMode: the plan that an agent proposes. It is carried out once a person has approved it."""

from __future__ import annotations

from pydantic import Field

from agentpane.domain.policy import EXIT_PLAN
from agentpane.orchestrator.tools.base import OnOutput, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.shape import ModelTool

MOST = 50_000  # characters


class PlanInput(ToolInput):
    plan: str = Field(min_length=1, max_length=MOST, description="The whole plan, in Markdown, as the person reads it.")


async def _approved(wanted: PlanInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    content = f"The plan is approved. This is the plan that holds:\n\n{wanted.plan}\n\nCarry it out."
    return ToolResult(content, False, "plan approved")


EXIT_PLAN_MODE = ModelTool(
    name=EXIT_PLAN,
    description=(
        "Proposes your plan to the person and waits. Approved, perhaps with changes, it comes back to you and you "
        "may change things; sent back, you read why, and propose another."
    ),
    model=PlanInput,
    work=_approved,
    target=(),
)
