"""What `--json` prints: the shapes that scripts rely on, made from the domain's values.

A path that is not UTF-8 is shown with escapes, and exactly, as base64, under the same name with `_b64`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agentpane.cli import check_shapes
from agentpane.domain.agents import Agent, DetectedBackend
from agentpane.domain.approvals import Approval
from agentpane.domain.audit import AuditEntry, AuditVerdict
from agentpane.domain.budgets import Budget
from agentpane.domain.conflicts import Conflict, LineRange, Overlap
from agentpane.domain.costs import CostLine
from agentpane.domain.engine import EngineStatus
from agentpane.domain.gitpaths import display_path
from agentpane.domain.health import DoctorReport
from agentpane.domain.projects import Project
from agentpane.domain.resolving import Resolving
from agentpane.domain.review import ApproveOutcome, DiffSummary, FileDiff
from agentpane.domain.runs import Run, RunStatus
from agentpane.domain.sessions import SessionEvent
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError

Shape = dict[str, Any]

_TROUBLED = frozenset({RunStatus.PAUSED, RunStatus.ERROR, RunStatus.INTERRUPTED})


def error(problem: AgentPaneError) -> Shape:
    return {
        "error": {
            "code": problem.code.value,
            "message": problem.message,
            "hint": problem.hint,
            "details": problem.details,
        }
    }


def project(value: Project) -> Shape:
    return {
        "id": value.id,
        "name": value.name,
        **_path("path", value.path),
        "base_branch": value.base_branch,
        "trusted": value.trusted,
    }


def trust(value: Project) -> Shape:
    """What waits for trust, or, with no digest left, what was trusted by this command."""
    return {
        "id": value.id,
        "name": value.name,
        "trusted": value.trusted,
        "pending": list(value.trust_pending),
        "digest": value.trust_digest,
    }


def policy(value: Project) -> Shape:
    """What decides about calls in a project."""
    config = value.config
    return {
        "id": value.id,
        "name": value.name,
        "policy": config.policy,
        "rules": list(config.rules),
        "always": list(value.always),
        "unconfined": config.unconfined,
    }


def agent(value: Agent) -> Shape:
    return {
        "id": value.id,
        "project_id": value.project_id,
        "name": value.name,
        "type": value.type.value,
        "backend": value.backend.value,
        "model": value.model or None,
        "default": value.is_default,
        "status": value.status.value,
        "source": value.source,
    }


def detected(value: DetectedBackend) -> Shape:
    return {
        "backend": value.backend.value,
        "preset": value.preset,
        "title": value.title,
        "program": value.program,
        "version": value.version,
        "signed_in": value.signed_in,
        "usable": value.usable,
        "note": value.note,
    }


def task(value: Task) -> Shape:
    card = value.card
    return {
        "id": card.id,
        "project_id": card.project_id,
        "title": card.title,
        "description": value.description,
        "labels": list(card.labels),
        "column": card.column.value,
        "position": card.position,
        "archived_at": _time(card.archived_at),
        "agent": card.agent,
        "branch": value.branch,
        "base_branch": value.base_branch,
        "base_sha": value.base_sha,
        **_path("worktree", value.worktree),
        "snapshot": value.snapshot,
        "files_changed": card.files_changed,
        "lines_added": card.lines_added,
        "lines_removed": card.lines_removed,
        "rejection_count": card.rejection_count,
        "merge_commit": value.merge_commit,
        "code": task_code(value),
        "conflicts": [conflict(each) for each in card.conflicts],
        "overlaps": [overlap(each) for each in card.overlaps],
        "resolving": None if card.resolving is None else resolving(card.resolving),
        "checks": [check_shapes.result(each) for each in card.checks],
        "session_id": value.session_id,
        "runs": [run(each) for each in value.runs],
    }


def resolving(value: Resolving) -> Shape:
    return {
        "target": value.target,
        "by": value.by.value,
        "stage": value.stage.value,
        "count": value.count,
        "paths": [
            {**_path("path", laid.path), "kind": laid.kind, "layout": laid.layout.value, **_path("beside", laid.beside)}
            for laid in value.paths
        ],
    }


def conflict(value: Conflict) -> Shape:
    """Lines as each side has them; a count of 0 is the place behind line `start`."""
    return {
        **_path("path", value.path),
        "kind": value.kind,
        "target_lines": [_lines(each) for each in value.target_lines],
        "card_lines": [_lines(each) for each in value.card_lines],
    }


def overlap(value: Overlap) -> Shape:
    """Another card at the same place, as this card has it; `clashes`: git cannot merge the two there by itself."""
    return {
        "task_id": value.task_id,
        "title": value.title,
        **_path("path", value.path),
        "kind": value.kind.value,
        "clashes": value.clashes,
        "lines": [_lines(each) for each in value.lines],
    }


def _lines(value: LineRange) -> Shape:
    return {"start": value.start, "count": value.count}


def task_code(value: Task) -> str | None:
    """What is the matter with a card: what it says itself, else what its newest run stopped at."""
    newest = value.runs[-1] if value.runs else None
    if value.card.code is None and newest is not None and newest.status in _TROUBLED and newest.error is not None:
        return newest.error.code
    return value.card.code


def run(value: Run) -> Shape:
    problem = value.error
    return {
        "id": value.id,
        "agent": value.agent,
        "backend": value.backend,
        "status": value.status.value,
        "turns": value.turns,
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "cost_usd": value.cost_usd,
        "started_at": _time(value.started_at),
        "ended_at": _time(value.ended_at),
        "error": None if problem is None else {"code": problem.code, "message": problem.message, "hint": problem.hint},
    }


def approval(value: Approval) -> Shape:
    return {
        "id": value.id,
        "project_id": value.project_id,
        "task_id": value.task_id,
        "run_id": value.run_id,
        "tool": value.tool,
        "input": value.input,
        "summary": value.summary,
        "state": value.state.value,
        "message": value.message,
        "rules": list(value.rules),
        "detail": value.detail,
        "edited": value.edited,
        "requested_at": _time(value.requested_at),
        "decided_at": _time(value.decided_at),
        "decided_by": value.decided_by,
    }


def approve(value: ApproveOutcome) -> Shape:
    said = refusal(value.task_id, value.result.value, value.paths, value.code, value.merge_commit)
    return said if value.recovery is None else {**said, "recovery": value.recovery}


def refusal(
    task_id: str, result: str, paths: Sequence[str], code: str | None, merge_commit: str | None = None
) -> Shape:
    exact = {"paths_b64": [_b64(path) for path in paths]} if any(not _is_utf8(path) for path in paths) else {}
    return {
        "task_id": task_id,
        "result": result,
        "merge_commit": merge_commit,
        "paths": [_shown(path) for path in paths],
        **exact,
        "code": code,
    }


def diff(value: DiffSummary) -> Shape:
    return {
        "base": value.base,
        "snapshot": value.snapshot,
        "files": [_file(each) for each in value.files],
        "commits": [{"sha": sha, "subject": subject} for sha, _, subject in map(_parted, value.commits)],
        "more_commits": value.more_commits,
    }


def _parted(commit: str) -> tuple[str, str, str]:
    return commit.partition(" ")


def _file(value: FileDiff) -> Shape:
    return {
        **_path("path", value.path),
        **_path("old_path", value.old_path),
        "status": value.status,
        "added": value.added,
        "removed": value.removed,
        "binary": value.binary,
        "old_mode": value.old_mode,
        "new_mode": value.new_mode,
        **_path("target", value.target),
        "notes": [note.text for note in value.notes],
    }


def event(value: SessionEvent) -> Shape:
    return {
        "seq": value.seq,
        "at": _time(value.at),
        "kind": value.kind.value,
        "turn": value.turn,
        "run_id": value.run_id,
        "data": value.data,
    }


def cost_line(value: CostLine) -> Shape:
    """`cost_usd` is of the calls whose cost is known, null when none is; `unpriced` counts the others."""
    return {
        "key": value.key,
        "label": value.label,
        "calls": value.calls,
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "cache_read_tokens": value.cache_read_tokens,
        "cache_write_tokens": value.cache_write_tokens,
        "cost_usd": None if value.unpriced == value.calls else value.cost_usd,
        "unpriced": value.unpriced,
        "latency_ms": value.latency_ms,
    }


def budget(value: Budget) -> Shape:
    """null is: no limit."""
    return {"usd": value.usd, "tokens": value.tokens}


def audit_entry(value: AuditEntry) -> Shape:
    record = value.record
    return {
        "id": value.id,
        "number": value.number,
        "at": _time(record.at),
        "project_id": record.project_id,
        "agent_id": record.agent_id,
        "agent_run_id": record.agent_run_id,
        "task_id": record.task_id,
        "tool": record.tool,
        "status": record.status.value,
        "input": record.input,
        "output": record.output,
        "error": record.error,
        "duration_ms": record.duration_ms,
        "turn": record.turn,
        "actor": record.actor,
        "previous_hash": value.previous_hash,
        "hash": value.hash,
    }


def audit_verdict(value: AuditVerdict) -> Shape:
    bad = value.first_bad
    return {
        "ok": value.ok,
        "entries": value.entries,
        "first_bad": None if bad is None else {"project_id": bad.project_id, "number": bad.number, "what": bad.what},
    }


def doctor(value: DoctorReport) -> Shape:
    return {
        "ok": value.ok,
        "findings": [
            {
                "code": each.code,
                "what": each.what,
                "where": each.where,
                "fix": each.fix,
                "id": each.id,
                "size_bytes": each.size_bytes,
                "repairable": each.repairable,
                "notice": each.notice,
                "project_id": each.project_id,
            }
            for each in value.findings
        ],
        "sandbox_tier": value.sandbox_tier,
        "versions": dict(value.versions),
        "repairs": [{"id": each.id, "done": each.done, "words": each.words} for each in value.repairs],
        "recoveries": {"count": value.recoveries, "size_bytes": value.recoveries_bytes},
    }


def engine_status(value: EngineStatus) -> Shape:
    return {
        "running": value.running,
        "pid": value.pid,
        "version": value.version,
        "clients": value.clients,
        "runs": value.runs,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _path(name: str, path: str | None) -> Mapping[str, str | None]:
    if path is None or _is_utf8(path):
        return {name: path}
    return {name: _shown(path), f"{name}_b64": _b64(path)}


def _shown(path: str) -> str:
    return path if _is_utf8(path) else display_path(path)


def _b64(path: str) -> str:
    return base64.b64encode(path.encode("utf-8", "surrogateescape")).decode("ascii")


def _is_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
