"""The repository's own configuration and instructions, read from the base commit, never from a worktree."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentpane.db import projects
from agentpane.domain.agent_files import FOLDER, MOST_FILES
from agentpane.domain.ids import ProjectId
from agentpane.domain.mcp import CONFIG_PATH as SERVERS_PATH
from agentpane.domain.mcp import parse_servers
from agentpane.domain.projects import Project
from agentpane.domain.repoconfig import CONFIG_PATH, INSTRUCTION_PATHS, RepoConfig, digest_of, parse
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.agents import agent_files
from agentpane.orchestrator.core import Core
from agentpane.worktrees import Repository


@dataclass(frozen=True, slots=True)
class Standing:
    """The repository's configuration at one commit, and whether the person has trusted those exact bytes."""

    config: RepoConfig | None
    trusted: bool
    pending: tuple[str, ...]


async def read_config(core: Core, repository: Repository, commit: str) -> RepoConfig | None:
    """What the repository says at `commit`; None if it says nothing. What of it cannot be read is in `problems`.

    Raises AgentPaneError with PROJECT_CONFIG_INVALID if the configuration itself cannot be read.
    """
    files = await _files(core, repository, commit)
    if not files:
        return None
    config = parse(files.get(CONFIG_PATH, b""))
    problems: list[tuple[str, str]] = []
    if SERVERS_PATH in files:
        try:
            config = replace(config, servers=parse_servers(files[SERVERS_PATH]))
        except AgentPaneError as error:
            problems.append((SERVERS_PATH, error.message))
    read = agent_files.read({path: content for path, content in files.items() if path.startswith(FOLDER)})
    problems += [(problem.path, problem.error.message) for problem in read.problems]
    return replace(config, digest=digest_of(files), agents=read.agents, problems=tuple(problems))


async def _files(core: Core, repository: Repository, commit: str) -> dict[str, bytes]:
    """The files that are trusted together, as far as they are there."""
    own = await core.git.list_tree(repository, commit, ".agentpane")
    agents = [path for path in own if path.startswith(f"{FOLDER}/") and path.count("/") == 2 and path.endswith(".md")]
    found: dict[str, bytes] = {}
    for path in (*((CONFIG_PATH,) if CONFIG_PATH in own else ()), SERVERS_PATH, *sorted(agents)[:MOST_FILES]):
        content = await core.git.read_file(repository, commit, path)
        if content is not None:
            found[path] = content
    return found


async def standing(core: Core, project_id: ProjectId, repository: Repository, commit: str) -> Standing:
    """Compare the configuration at `commit` with what was trusted."""
    config = await read_config(core, repository, commit)
    trusted_hash = await core.db.read(projects.trusted_hash, project_id)
    needs = config.needs_trust() if config else ()
    trusted = not needs or (config is not None and config.digest == trusted_hash)
    return Standing(config, trusted, () if trusted else needs)


async def look(core: Core, project: Project, repository: Repository) -> Standing:
    """How the configuration stands on the base branch now. What waits for trust is remembered and announced."""
    tip = await core.git.base_branch(repository, project.base_branch)
    stand = await standing(core, project.id, repository, tip.sha)
    waiting = stand.config.digest if stand.config and stand.pending else None
    before = await core.db.read(projects.get, project.id)
    if (before.trust_digest, before.trust_pending) != (waiting, stand.pending):
        trusted_hash = await core.db.read(projects.trusted_hash, project.id)
        await core.db.write(
            projects.set_trust, project.id, trusted_hash, stand.pending, core.clock.now(), waiting=waiting
        )
        await core.announce_project(project.id)
    return stand


async def instructions(core: Core, repository: Repository, commit: str) -> tuple[tuple[str, str], ...]:
    """The repository's words to agents: (path, text) for each file that is there, the same words once."""
    found: dict[str, str] = {}  # the path by its text
    for path in INSTRUCTION_PATHS:
        content = await core.git.read_file(repository, commit, path)
        text = content.decode("utf-8", "replace") if content is not None else ""
        if text.strip() and text.strip() not in INSTRUCTION_PATHS:  # a link to another of them is the name of that
            found.setdefault(text, path)
    return tuple((path, text) for text, path in found.items())
