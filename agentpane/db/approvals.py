"""Approvals of tool calls: asked for, decided, withdrawn, and the rules that allow for good in a project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, literal_column, select, update
from sqlalchemy import Connection as Connection

from agentpane.db import projects
from agentpane.db.references import AnyRow, AnySelect, by_prefix, new_id
from agentpane.db.schema import ApprovalTable, ProjectTable
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.ids import ApprovalId, ProjectId, RunId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import invalid
from agentpane.domain.policy import EXIT_PLAN
from agentpane.errors import AgentPaneError

_A = ApprovalTable


@dataclass(frozen=True, slots=True)
class NewApproval:
    project_id: ProjectId
    task_id: TaskId
    run_id: RunId
    call_id: str
    tool: str
    input: JsonObject
    summary: str
    rules: tuple[str, ...] = ()
    detail: str = ""


def request(connection: Connection, new: NewApproval, at: datetime) -> Approval:
    """Ask for a decision.

    What is asked already, about this very call and with the same to be seen, is not asked twice. An open question about
    something else that went by the same call is withdrawn; what was decided about it stays as it is.
    """
    known = for_call(connection, new.run_id, new.call_id)
    if known is not None and known.is_about(new.tool, new.input, new.detail):
        if known.state is ApprovalState.PENDING:
            return known
        if known.state is ApprovalState.WITHDRAWN:
            return _ask_again(connection, known.id, at)
    elif known is not None:
        _withdraw(connection, _A.id == known.id, at)
    approval_id = ApprovalId(new_id())
    connection.execute(
        insert(_A).values(
            id=approval_id,
            project_id=new.project_id,
            task_id=new.task_id,
            run_id=new.run_id,
            call_id=new.call_id,
            tool=new.tool,
            input=dict(new.input),
            summary=new.summary,
            rules=new.rules,
            detail=new.detail,
            requested_at=at,
        )
    )
    return get(connection, approval_id)


def get(connection: Connection, approval_id: ApprovalId) -> Approval:
    """Raises AgentPaneError with VALIDATION_ERROR if there is none."""
    row = connection.execute(_approvals().where(_A.id == approval_id)).one_or_none()
    if row is None:
        raise _not_found(approval_id)
    return Approval(*row)


def resolve(connection: Connection, ref: str) -> ApprovalId:
    """The approval that an id or a unique beginning of one means; among several, the one that is still open."""
    pending = by_prefix(connection, "approval", _A.id, ref, _A.state == ApprovalState.PENDING)
    approval_id = pending or by_prefix(connection, "approval", _A.id, ref)
    if approval_id is None:
        raise _not_found(ref)
    return ApprovalId(approval_id)


def pending(connection: Connection, task_id: TaskId | None = None) -> tuple[Approval, ...]:
    """What waits for a decision, oldest first."""
    query = _approvals().where(_A.state == ApprovalState.PENDING)
    if task_id is not None:
        query = query.where(_A.task_id == task_id)
    return _all(connection, query)


def for_call(connection: Connection, run_id: RunId, call_id: str) -> Approval | None:
    """The newest that goes by this call; see `Approval.is_about` for whether it is about the same."""
    found = _all(connection, _approvals().where(_A.run_id == run_id, _A.call_id == call_id))
    return found[-1] if found else None


def like(connection: Connection, run_id: RunId, tool: str, input: JsonObject, detail: str) -> tuple[Approval, ...]:
    """What was asked in a run about such calls, with the same to be seen, and not withdrawn; the newest last."""
    query = _approvals().where(_A.run_id == run_id, _A.tool == tool, _A.state != ApprovalState.WITHDRAWN)
    return tuple(approval for approval in _all(connection, query) if approval.is_about(tool, input, detail))


def plan_approved(connection: Connection, run_id: RunId) -> bool:
    """Whether a person has approved a plan of this run."""
    query = select(_A.id).where(_A.run_id == run_id, _A.tool == EXIT_PLAN, _A.state == ApprovalState.ALLOWED)
    return connection.execute(query.limit(1)).one_or_none() is not None


def pending_of_run(connection: Connection, run_id: RunId) -> int:
    """How many calls of a run wait for a decision."""
    query = select(func.count()).where(_A.run_id == run_id, _A.state == ApprovalState.PENDING)
    return int(connection.execute(query).scalar_one())


def decide(
    connection: Connection,
    approval_id: ApprovalId,
    state: ApprovalState,
    message: str | None,
    by: str,
    at: datetime,
    edited: JsonObject | None = None,
) -> Approval:
    """Allow or deny a call. Raises AgentPaneError with VALIDATION_ERROR if that was decided before."""
    known = get(connection, approval_id)
    if known.state is not ApprovalState.PENDING:
        raise invalid(
            "approval",
            f"This call is {known.state} already.",
            "`agentpane approvals` shows what waits. Nothing has changed.",
        )
    decided = {"state": state, "message": message, "decided_at": at, "decided_by": by, "edited": edited}
    connection.execute(update(_A).where(_A.id == approval_id).values(**decided))
    return get(connection, approval_id)


def withdraw_for_task(connection: Connection, task_id: TaskId, at: datetime) -> tuple[Approval, ...]:
    """Take back what a task still asks for, and return it."""
    open_ones = pending(connection, task_id)
    _withdraw(connection, _A.task_id == task_id, at)
    return tuple(get(connection, approval.id) for approval in open_ones)


def withdraw_plan(connection: Connection, run_id: RunId) -> tuple[Approval, ...]:
    """Take back the approval of a run's plan, and return it: the run begins anew."""
    approved = (_A.run_id == run_id, _A.tool == EXIT_PLAN, _A.state == ApprovalState.ALLOWED)
    found = _all(connection, _approvals().where(*approved))
    connection.execute(update(_A).where(*approved).values(state=ApprovalState.WITHDRAWN))
    return tuple(get(connection, approval.id) for approval in found)


def allow_always(connection: Connection, project_id: ProjectId, rules: Iterable[str], at: datetime) -> None:
    """Take these rules into what the person has allowed for good in this project."""
    set_always(connection, project_id, (*always(connection, project_id), *rules), at)


def set_always(connection: Connection, project_id: ProjectId, rules: Iterable[str], at: datetime) -> None:
    """These rules, and no others, are what the person has allowed for good."""
    values = {"always_allowed": tuple(dict.fromkeys(rules)), "updated_at": at}
    connection.execute(update(ProjectTable).where(ProjectTable.id == project_id).values(**values))


def always(connection: Connection, project_id: ProjectId) -> tuple[str, ...]:
    """The rules by which the person has allowed calls for good in this project, in the order in which they came."""
    query = select(ProjectTable.always_allowed).where(ProjectTable.id == project_id)
    rules = connection.execute(query).scalar_one_or_none()
    if rules is None:
        raise projects.not_found(project_id)
    return tuple(rules)


def _withdraw(connection: Connection, which: ColumnElement[bool], at: datetime) -> None:
    """Take back what of these still waits."""
    still = _A.state == ApprovalState.PENDING
    connection.execute(update(_A).where(which, still).values(state=ApprovalState.WITHDRAWN, decided_at=at))


def _ask_again(connection: Connection, approval_id: ApprovalId, at: datetime) -> Approval:
    anew = {"state": ApprovalState.PENDING, "requested_at": at, "decided_at": None, "decided_by": None, "message": None}
    connection.execute(update(_A).where(_A.id == approval_id).values(**anew, edited=None))
    return get(connection, approval_id)


def _all(connection: Connection, query: AnySelect) -> tuple[Approval, ...]:
    rows: list[AnyRow] = list(connection.execute(query.order_by(_A.requested_at, literal_column("rowid"))))
    return tuple(Approval(*row) for row in rows)


def _approvals() -> AnySelect:
    return select(
        _A.id,
        _A.project_id,
        _A.task_id,
        _A.run_id,
        _A.call_id,
        _A.tool,
        _A.input,
        _A.summary,
        _A.state,
        _A.message,
        _A.requested_at,
        _A.decided_at,
        _A.decided_by,
        _A.rules,
        _A.detail,
        _A.edited,
    )


def _not_found(ref: str) -> AgentPaneError:
    return invalid("approval", f"There is no approval “{ref}”.", "`agentpane approvals` shows what waits.")
