"""What a merge has to keep to: which checks hold at the base branch, and which tree they are about.

Looks and changes nothing. The repository's own checks are read from the commit that is merged onto, so that no diff
changes the checks that it has to pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.db import projects
from agentpane.domain.checks import UNDER_WAY, Check, CheckResult, CheckState, digest_of
from agentpane.domain.ids import ProjectId
from agentpane.domain.projects import Project, ProjectConfig
from agentpane.domain.reach import reach
from agentpane.domain.repoconfig import CONFIG_PATH, beside, merged, parse
from agentpane.domain.rules import parse_all
from agentpane.domain.sandbox import Tier
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging.check_round import Subject
from agentpane.orchestrator.permissions import trust
from agentpane.worktrees import Conflicted, MergePlan, MergePreview, MergeRefused, MergeStrategy, Repository

TRIES = 3
END_SHOWN = 300  # characters of an output


@dataclass(frozen=True, slots=True)
class Gate:
    """What was found for merging `snapshot` onto the commit `base`.

    tree: the only one that may be merged; None: no check is set, or nothing can be merged.
    untrusted: the repository has checks that wait for the person's trust, and were not run.
    played: checks were run for it, and not only remembered.
    problem: why nothing can be merged.
    """

    task_id: str
    snapshot: str
    base: str | None
    checks: tuple[Check, ...] = ()
    digests: tuple[str, ...] = ()
    subject: Subject | None = None
    results: tuple[CheckResult, ...] = ()
    untrusted: bool = False
    played: bool = False
    problem: AgentPaneError | None = None

    @property
    def tree(self) -> str | None:
        return self.subject.tree if self.subject is not None else None

    @property
    def complete(self) -> bool:
        """Whether there is nothing to run."""
        return self.subject is None or not self.open_ended

    @property
    def open_ended(self) -> bool:
        return any(result.state in UNDER_WAY for result in self.results)

    @property
    def blocking(self) -> tuple[CheckResult, ...]:
        """The checks that keep the snapshot from being merged."""
        return tuple(result for result in self.results if result.blocks)

    @property
    def notes(self) -> str:
        """What a person should know of a merge that is not kept away."""
        warned = [f"{result.name} {result.how}" for result in self.results if result.state is not CheckState.PASSED]
        said = f" Checks that are not required: {', '.join(warned)}." if warned else ""
        return said + (" The repository's own checks wait for trust and were not run." if self.untrusted else "")

    def refusal(self) -> MergeRefused:
        """What is said when checks keep the merge away: which ones, and the end of what the first of them wrote."""
        first = self.blocking[0]
        named = ", ".join(f"{result.name} {result.how}" for result in self.blocking)
        lines = [line.strip() for line in first.output.splitlines() if line.strip()]
        end = " ".join(lines)[-END_SHOWN:]
        return MergeRefused(
            ErrorCode.MERGE_CHECKS_FAILED,
            f"Required checks keep this from being merged: {named}. Nothing has been changed."
            + (f" {first.name} ended with: {end}" if end else ""),
            "Their whole output is in the session. Reject the card with what they say, or run them again: "
            f"agentpane check {self.task_id}",
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    checks: tuple[Check, ...]
    config: ProjectConfig
    untrusted: bool


@dataclass(frozen=True, slots=True)
class Surveyor:
    core: Core
    tier: Tier

    async def survey(
        self, task: Task, repository: Repository | None = None, strategy: str = MergeStrategy.MERGE
    ) -> Gate:
        """The gate of a card that waits for approval, without any results.

        repository: the card's, if it has been opened already.
        """
        assert task.snapshot is not None
        project = await self.core.db.read(projects.get, task.card.project_id)
        repository = repository or await self._repository(project)
        for _ in range(TRIES):
            base = await self.core.git.branch_tip(repository, task.base_branch or project.base_branch)
            if base is None:
                return Gate(task.card.id, task.snapshot, None)
            wanted = await self._wanted(project, repository, base)
            found = Gate(task.card.id, task.snapshot, base, wanted.checks, untrusted=wanted.untrusted)
            if not wanted.checks:
                return found
            seen = await self.core.git.preview_merge(repository, _plan(task, project, strategy))
            if not isinstance(seen, MergePreview):
                return replace(found, problem=_problem(seen))
            if seen.old == base:
                subject = Subject(task, repository, wanted.config, base, task.snapshot, seen.tree)
                return replace(found, subject=subject, digests=self._digests(wanted))
        raise AgentPaneError(
            ErrorCode.MERGE_BASE_MOVED,
            f"The base branch changed {TRIES} times while it was looked at. Nothing has been changed.",
            hint="Try again when nothing else works on that branch.",
        )

    async def holds(self, gate: Gate, task: Task, base: str) -> bool:
        """See `Checks.holds`. Checks may have been set, changed or trusted while those of the gate ran."""
        project = await self.core.db.read(projects.get, task.card.project_id)
        try:
            wanted = await self._wanted(project, await self._repository(project), base)
        except AgentPaneError as error:
            if error.code is not ErrorCode.PROJECT_CONFIG_INVALID:
                raise
            return False  # what holds there cannot be told, as the next look says
        if not wanted.checks:
            return True
        return gate.tree is not None and (wanted.checks, self._digests(wanted)) == (gate.checks, gate.digests)

    async def any_set(self, project_id: ProjectId) -> bool:
        """Whether any check holds at the project's base branch."""
        project = await self.core.db.read(projects.get, project_id)
        repository = await self._repository(project)
        base = await self.core.git.branch_tip(repository, project.base_branch)
        return base is not None and bool((await self._wanted(project, repository, base)).checks)

    async def _wanted(self, project: Project, repository: Repository, base: str) -> _Wanted:
        """The checks that hold at `base`: the person's own, and what is trusted of the repository's.

        Raises PROJECT_CONFIG_INVALID when the repository's cannot be read: nobody can say then which hold.
        """
        content = await self.core.git.read_file(repository, base, CONFIG_PATH)
        if not project.config.checks and (content is None or not parse(content).checks):
            return _Wanted((), project.config, False)
        stand = await trust.standing(self.core, project.id, repository, base)
        config = merged(project.config, stand.config, stand.trusted)
        waiting = not stand.trusted and bool(beside(project.config.checks, stand.config))
        return _Wanted(config.checks, config, waiting)

    def _digests(self, wanted: _Wanted) -> tuple[str, ...]:
        config = wanted.config
        network = reach(config.reach(), parse_all(config.rules))
        set_up = (config.install_command, config.init_script, config.env_file, config.copy_files)
        return tuple(digest_of(check, (*set_up, str(network), self.tier.value)) for check in wanted.checks)

    async def _repository(self, project: Project) -> Repository:
        return await self.core.git.open_repository(Path(project.path))


def _plan(task: Task, project: Project, strategy: str) -> MergePlan:
    """The merge of a card's snapshot into its base branch; its commit is not made, and needs no words."""
    assert task.snapshot is not None
    return MergePlan(
        task.base_branch or project.base_branch, task.snapshot, task.runs[-1].id, strategy, "", task.base_sha
    )


def _problem(seen: object) -> AgentPaneError | None:
    match seen:
        case MergeRefused():
            return AgentPaneError(seen.code, seen.message, seen.hint, {"paths": list(seen.paths)})
        case Conflicted():
            paths = [conflict.path for conflict in seen.paths]
            return AgentPaneError(
                ErrorCode.MERGE_CONFLICT,
                f"{len(paths)} path(s) conflict with the base branch, so there is no merge to check.",
                "Resolve the conflict first. Nothing has been changed.",
                {"paths": paths},
            )
    return None  # merged by hand already
