"""`run`, `answer`, `resume`, `cancel`: what a person does with a task's run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from agentpane.api.commands import Answer, GetTask, ResumeRun, StartRun
from agentpane.cli import commands
from agentpane.cli.asking import put_back
from agentpane.cli.pane import Pane, model_environment
from agentpane.cli.task import Ref
from agentpane.cli.waiting import start_and_wait
from agentpane.domain.budgets import Budget
from agentpane.domain.limits import invalid
from agentpane.domain.policy import Policy


class PolicyWord(StrEnum):
    ASK = "ask"
    FREE = "free"
    DENY = "deny"


POLICIES = {PolicyWord.ASK: Policy.CAREFUL, PolicyWord.FREE: Policy.FREE, PolicyWord.DENY: Policy.READ_ONLY}


def register(app: typer.Typer) -> None:
    commands.add(app, "run", run, "run k3x9", "run k3x9 --policy free --jsonl", "run k3x9 --plan", lines=True)
    commands.add(app, "answer", answer, 'answer k3x9 "Use the new interface."', lines=True)
    commands.add(app, "resume", resume, "resume k3x9 --turns 20", "resume k3x9 --finish", lines=True)
    commands.add(app, "cancel", cancel, "cancel k3x9 --yes")


def run(
    ctx: typer.Context,
    task: Ref,
    agent: Annotated[str | None, typer.Option(help="Who does it; else the card's or the project's agent.")] = None,
    policy: Annotated[
        PolicyWord | None,
        typer.Option(help="ask before every write and command; free inside the sandbox; deny what would be asked."),
    ] = None,
    plan: Annotated[
        bool | None,
        typer.Option("--plan/--no-plan", help="Begin with a plan to approve; else as the agent does."),
    ] = None,
) -> None:
    """Start a card's run, and wait for its diff.

    It also returns when the run fails, pauses or has changed nothing.
    """
    chosen = POLICIES[policy] if policy is not None else None
    start_and_wait(ctx.obj, StartRun(task, agent, chosen, model_environment(), plan))


def answer(
    ctx: typer.Context,
    task: Ref,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the agent reads before its next turn.")],
) -> None:
    """Say something to a card's agent, and wait."""
    start_and_wait(ctx.obj, Answer(task, text, model_environment()))


def resume(
    ctx: typer.Context,
    task: Ref,
    turns: Annotated[int | None, typer.Option(help="How many more turns it may take.")] = None,
    budget: Annotated[float | None, typer.Option(help="How many more dollars it may use.", metavar="USD")] = None,
    tokens: Annotated[int | None, typer.Option(help="How many more tokens it may use.")] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Take what is there as the result.")] = False,
    afresh: Annotated[
        bool,
        typer.Option(
            "--afresh", help="Begin anew, at the commit that the work began at; the recovery bin gets what is there."
        ),
    ] = False,
) -> None:
    """Go on with a paused, failed or interrupted run."""
    if afresh and finish:
        raise invalid("afresh", "What is there is either the result, or begun anew.", "Give --afresh or --finish.")
    more = None if budget is None and tokens is None else Budget(budget, tokens)
    start_and_wait(ctx.obj, ResumeRun(task, turns, finish, afresh, environment=model_environment(), budget=more))


def cancel(
    ctx: typer.Context,
    task: Ref,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, even when a diff waits for approval.")] = False,
) -> None:
    """Stop a card's run and put the card in the backlog.

    A recovery snapshot keeps what the agent had done.
    """
    pane: Pane = ctx.obj
    found = pane.call(lambda client: client.do(GetTask(task)))
    put_back(pane, found, yes)
