"""One card from its beginning to its end, with an engine that dies on the way, and what must hold after each death."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from agentpane.api import commands as c
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.projects import ProjectConfig
from agentpane.domain.review import ApproveOutcome, ApproveResult, MergeStrategy
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError
from tests.crash.ground import CLASHING, Ground, line, tree_of
from tests.crash.host import BOUND_S, DiedError, Host
from tests.crash.neighbour import Neighbour
from tests.crash.sequences import APPROVE, CANCEL, RESET, Act, Setting
from tests.crash.steps import Point

SETTLE_S = 12.0  # how long recovery, deletions and a git that was left alone may take
POLL_S = 0.1
COMMANDS = 16  # that may be given before the card counts as stuck


Line = tuple[str, str, str, float]  # sequence, step, how it was died at, when


class ViolatedError(Exception):
    """An invariant does not hold."""


@dataclass(slots=True)
class Story:
    """A card on ground of its own.

    points: where the sequences of an act, by its number, are cut off, one death after the other. took: told what steps
    an act has taken.
    """

    host: Host
    ground: Ground
    acts: tuple[Act, ...]
    strategy: MergeStrategy
    points: Callable[[int], Mapping[str, Sequence[Point]]]
    took: Callable[[int, Sequence[Line]], None]
    lines: list[Line] = field(default_factory=list)  # of the present act
    hits: list[Point] = field(default_factory=list)
    task: str = ""
    neighbour: Neighbour | None = None
    _setting: Setting | None = None
    _number: int = 0
    _left: dict[str, list[Point]] = field(default_factory=dict)
    _allowed: Callable[[str], bool] = lambda tip: True
    _old: str = ""
    _working: bool = False  # the agent has worked, and nobody has removed what it made

    async def play(self) -> None:
        """Raises ViolatedError."""
        try:
            await self._play()
        except AgentPaneError as error:
            raise self._violated([f"refused: {error.code} {error.message}"]) from error

    async def _play(self) -> None:
        self.ground.make()
        await self._open()
        for number, act in enumerate(self.acts):
            self._number = number
            if act.person:
                await PERSON[act.person](self)
                continue
            await self._act(act)
        await self._close()

    async def _open(self) -> None:
        config = ProjectConfig(env_file=".env", init_script="seq 200 > .setup.log", unconfined=True)
        project = await self.host.do(c.AddProject(str(self.ground.path), base_branch="main"))
        await self.host.do(c.EditProject(project.id, config=config))
        for name, command in (("Works", "sh work.sh"), ("Fails", "sh work.sh; exit 3")):
            await self.host.do(c.AddAgent(project.id, name, BackendName.COMMAND, config=AgentConfig(command=command)))
        self.task = (await self.host.do(c.AddTask(project.id, f"Card of {self.ground.path.name}"))).card.id
        self._setting = Setting(self.task, "Works", self.strategy)

    async def _close(self) -> None:
        await self.host.do(c.RemoveProject(str(self.ground.path)))
        checked = await asyncio.to_thread(
            subprocess.run, ["git", "fsck", "--no-dangling"], cwd=self.ground.path, capture_output=True
        )
        if checked.returncode != 0:
            raise self._violated([f"git fsck: {checked.stderr.decode()}"])

    async def _act(self, act: Act) -> None:
        self._old = self.ground.tip()
        task = await self.host.do(c.GetTask(self.task))
        self._allowed = self._expected(act, task)
        if act is RESET:
            turns = await self.host.do(c.ListTurns(self.task))
            self._setting = replace(self._setting, turn=turns[-1].sha)  # type: ignore[type-var]
        if act.discards and task.worktree is not None and Path(task.worktree).is_dir():
            await self._eventually(partial(_quiet, Path(task.worktree)))
            there = self.ground.leave(Path(task.worktree), self._number, whole=act in {CANCEL, APPROVE})
            self._working = self._working and there
        self._left = {sequence: list(points) for sequence, points in self.points(self._number).items()}
        self._order()
        self.lines.clear()
        try:
            await self._carry_out(act)
        finally:
            self._collect()
            self.took(self._number, self.lines)

    async def _carry_out(self, act: Act) -> None:
        """Until it has its end, over as many deaths as there are on the way."""
        while True:
            try:
                await self._pursue(act)
                await self._eventually(lambda: self._faults(act, ended=True))
                await self._eventually(self._left_in_trash)  # what is removed is deleted a moment later
                break
            except DiedError:
                await self._revive(act)

    def _order(self) -> None:
        self.host.order({sequence: points[0] for sequence, points in self._left.items() if points})

    def _expected(self, act: Act, task: Task) -> Callable[[str], bool]:
        """What the target may be once this act has been carried through."""
        folder, old = self.ground.path, self._old
        if not act.moves:
            return lambda tip: tip == old
        if act.name == "approve":
            snapshot = str(task.snapshot)
            tree = line(folder, "merge-tree", "--write-tree", old, snapshot)
            parents = {
                MergeStrategy.MERGE: [old, snapshot],
                MergeStrategy.SQUASH: [old],
                MergeStrategy.FF: None,
            }[self.strategy]
            if parents is None:
                return lambda tip: tip == snapshot
            return lambda tip: line(folder, "rev-parse", f"{tip}^{{tree}}", f"{tip}^@").split() == [tree, *parents]
        merge = str(task.merge_commit)
        before = self._before[merge]
        if merge == old:
            return lambda tip: tip == before
        reverted = {**tree_of(folder, before), **_only_in(tree_of(folder, old), tree_of(folder, merge))}
        return lambda tip: line(folder, "rev-parse", f"{tip}^@").split() == [old] and tree_of(folder, tip) == reverted

    @property
    def _before(self) -> dict[str, str]:
        """The commit before each merge of the target, by the merge."""
        with closing(self._database()) as database:
            return dict(database.execute("SELECT new_sha, old_sha FROM merges WHERE kind = 'merge'").fetchall())

    async def _pursue(self, act: Act) -> None:
        """Give the commands that a person would give until the act has its normal end."""
        assert self._setting is not None
        given, refused = 0, ""
        until = time.monotonic() + BOUND_S
        while not act.done(task := await self.host.do(c.GetTask(self.task))):
            if time.monotonic() > until or given > COMMANDS:
                run = task.runs[-1] if task.runs else None
                how = refused or (run and (run.status, run.error))
                raise self._violated([f"the card is stuck in {task.card.column}: {how}"])
            command = act.next(task, self._setting)
            if command is None:
                await asyncio.sleep(POLL_S)
                continue
            given += 1
            try:
                refusal = _refusal(await self.host.do(command))
            except AgentPaneError as error:
                refusal = f"{error.code} {error.message}"
            if act.once and not refusal:
                return
            if refusal:
                refused = refusal
                await asyncio.sleep(0.2)

    async def _revive(self, act: Act) -> None:
        """Start the next engine after a death, and see that everything holds."""
        status = await self.host.buried()
        for sequence, hit in self._collect()[:1]:  # two threads may both have been about to die
            point = self._left[sequence].pop(0)
            assert (point.step, point.when.value) == hit
            self.hits.append(point)
        if status != -9:
            raise self._violated([f"the engine ended by itself with status {status}"])
        self._order()
        try:
            await self.host.start()
            await self._let_the_neighbour_in(act)
            await self._eventually(lambda: self._faults(act, ended=False))
        except DiedError:
            await self._revive(act)

    async def _let_the_neighbour_in(self, act: Act) -> None:
        """Approve the other card at once: it is merged onto the target before the act, or after it."""
        neighbour = self.neighbour
        if neighbour is None or neighbour.merge or not act.moves:
            return
        self.host.order({})
        refused = await neighbour.approve(self.host, SETTLE_S)
        if refused:
            raise self._violated([refused])
        self._order()
        merge, onto = neighbour.merge, line(self.ground.path, "rev-parse", f"{neighbour.merge}^")
        if onto == self._old:
            self._old = merge
            self._allowed = self._expected(act, await self.host.do(c.GetTask(self.task)))
        elif self._allowed(onto):
            self._allowed = lambda tip: tip == merge
        else:
            raise self._violated([f"the other card was merged onto what is neither old nor new: {onto}"])

    def _collect(self) -> list[tuple[str, tuple[str, str]]]:
        """Take note of the steps taken; returns those that were died at."""
        lines = self.host.new_lines()
        self.lines.extend(lines)
        return [(sequence, (step, hit)) for sequence, step, hit, _ in lines if hit]

    async def _eventually(self, look: Callable[[], Any]) -> None:
        until = time.monotonic() + SETTLE_S
        while found := await _looked(look):
            if time.monotonic() > until:
                raise self._violated(found)
            await asyncio.sleep(0.1)

    def _violated(self, faults: list[str]) -> ViolatedError:
        deaths = "; ".join(map(str, self.hits)) or "nothing"
        told = [
            *faults[:12],
            f"in act {self._number}, {self.acts[self._number].name}, by {self.strategy}, after: {deaths}",
            f"the target is {self.ground.where}",
            self.host.last_words(),
        ]
        return ViolatedError("\n".join(told))

    # What must hold

    async def _faults(self, act: Act, ended: bool) -> list[str]:
        task = await self.host.do(c.GetTask(self.task))
        found = [f"a process was left: {each}" for each in self.host.others()]
        tip = self.ground.tip()
        moved = tip != self._old
        if moved and not self._allowed(tip):
            found.append(f"the target is neither old nor new: {tip}")
        if ended and act.moves and not moved:
            found.append("the target is old, and the card says that it is new")
        if not ended and act.moves and act.done(task) != moved:
            found.append(f"the target is {'new' if moved else 'old'}, and the card is in {task.card.column}")
        found += self.ground.faults()
        found += await self._unlisted()
        found += [f"database: {fault}" for fault in await self.host.do(c.CheckDatabase())]
        verdict = await self.host.do(c.VerifyAudit())
        if not verdict.ok:
            found.append(f"audit: {verdict}")
        self._working = self._working or (ended and act.name in {"work", "fail"})
        if self._working and not self.ground.holds_work():
            found.append("what the agent made is nowhere")
        found += [f"nowhere: {word}" for word in self.ground.lost()]
        return found

    async def _unlisted(self) -> list[str]:
        """Worktrees, branches and refs of ours that neither a row nor the doctor knows."""
        with closing(self._database()) as database:
            rows = database.execute("SELECT path, branch, status FROM worktrees").fetchall()
            refs = {ref for (ref,) in database.execute("SELECT ref FROM recoveries")}
            ids = {
                one
                for table in ("agent_runs", "tasks", "worktrees")
                for (one,) in database.execute(f"SELECT id FROM {table}")
            }
        paths = {path for path, _, status in rows if status != "removed"}
        known = {f"refs/heads/{branch}" for _, branch, _ in rows} | refs
        unknown = [path for path in self.ground.worktrees() if path not in paths]
        for ref in self.ground.own_refs():
            a_branch = ref.startswith("refs/heads/")
            if ref not in known and (a_branch or not ids & set(ref.split("/"))):
                unknown.append(ref)
        if not unknown:
            return []
        report = await self.host.do(c.Doctor())
        listed = {finding.where for finding in report.findings}
        return [f"has no row, and the doctor does not list it: {one}" for one in unknown if one not in listed]

    async def _left_in_trash(self) -> list[str]:
        await self.host.do(c.GetTask(self.task))
        trash = self.ground.path / ".git" / "agentpane" / "trash"
        left = list(trash.iterdir()) if trash.is_dir() else []
        return [f"still in the trash: {each.name}" for each in left]

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.host.folder.database}?mode=ro", uri=True)


def _only_in(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    return {path: entry for path, entry in here.items() if path not in there}


def _refusal(answer: object) -> str | None:
    if isinstance(answer, ApproveOutcome) and answer.result is not ApproveResult.MERGED:
        return f"{answer.code} {answer.message}"
    return None


async def _advance(story: Story) -> None:
    story.ground.advance()


async def _clash(story: Story) -> None:
    story.ground.clash()


async def _neighbour(story: Story) -> None:
    """Only where the card need not be the next commit of the target."""
    if story.strategy is not MergeStrategy.FF:
        story.host.order({})
        project = (await story.host.do(c.GetTask(story.task))).card.project_id
        story.neighbour = await Neighbour.ready(story.host, project)


async def _decide(story: Story) -> None:
    """Edit the conflicted file in the worktree, as the person would."""
    task = await story.host.do(c.GetTask(story.task))
    (Path(str(task.worktree)) / CLASHING).write_text("decided by the person\n")


async def _spoil(story: Story) -> None:
    """Change, add and delete in the worktree what a reset then sets back."""
    task = await story.host.do(c.GetTask(story.task))
    folder = Path(str(task.worktree))
    (folder / "src/f1.txt").write_text("spoilt\n")
    (folder / "src/f2.txt").unlink()


PERSON: Mapping[str, Callable[[Story], Awaitable[None]]] = {
    "advance": _advance,
    "clash": _clash,
    "decide": _decide,
    "neighbour": _neighbour,
    "spoil": _spoil,
}


async def _quiet(worktree: Path) -> list[str]:
    """The locks in a worktree that the engine is still at: the person would wait for it as well."""
    record = Path(line(worktree, "rev-parse", "--absolute-git-dir"))
    return [str(lock) for lock in record.glob("*.lock")]


async def _looked(look: Callable[[], Any]) -> Any:
    """What a look finds; something that goes while it is looked at is a reason to look again."""
    try:
        return await look()
    except FileNotFoundError as gone:
        return [f"{gone.filename} went while it was looked at"]
    except subprocess.CalledProcessError as failed:
        return [f"{failed.cmd} failed while something may have gone: {failed.stderr}"]
