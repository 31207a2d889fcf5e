"""Opening a repository and reading what it holds: branches, commits, files of a commit.

GitPython finds the repository's parts, once; from then on they are pinned.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path

from agentpane.domain.diff import decode_path, display_path, split_z
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees.git.config import TRUE
from agentpane.worktrees.git.files import endless, read_line
from agentpane.worktrees.git.runner import EndlessError, GitError, GitRunner, Place
from agentpane.worktrees.places import checkout_of, head_branch, objects_of
from agentpane.worktrees.values import BranchTip, Repository

OLDEST_GIT = (2, 38)
READ_LIMIT = 1024 * 1024
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


async def check_git(git: GitRunner) -> str:
    """Git's version. Raises GIT_MISSING or GIT_TOO_OLD."""
    said = (await git.run(None, "--version")).line
    found = re.search(r"(\d+)\.(\d+)[.\d]*", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GIT:
        raise AgentPaneError(
            ErrorCode.GIT_TOO_OLD, f"This is {said or 'not git'}; AgentPane needs git 2.38 or newer.", "Update git."
        )
    return found[0]


async def open_repository(git: GitRunner, path: Path, allowed_filters: frozenset[str] = frozenset()) -> Repository:
    """Find and check the repository whose root is `path`.

    Raises PROJECT_PATH_INVALID, PROJECT_NOT_A_GIT_REPO (also for a folder inside of one),
    PROJECT_EMPTY_REPO, and GIT_FILTER_REQUIRED for a filter that files need and the person has not allowed.
    """
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise AgentPaneError(
            ErrorCode.PROJECT_PATH_INVALID,
            f"{path} {what}.",
            "Give the path of a folder that is a git repository. If it was moved, move it back there.",
        )
    whole = Path(os.path.realpath(path))
    _refuse_endless(whole)
    root, git_dir, common_dir, bare = await asyncio.to_thread(_locate, whole)
    place = Place(git_dir, common_dir, None if bare else root)
    try:
        head = await git.run(
            place, "rev-parse", "--show-object-format", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128)
        )
        object_format = head.stdout.decode().partition("\n")[0]
        if not object_format:
            object_format = (await git.run(place, "rev-parse", "--show-object-format")).line  # which says what is wrong
        branches, broken = b"", b""
        if head.exit_code != 0:
            listed = await git.run(place, "for-each-ref", "--count=1", "refs/heads/")
            branches, broken = listed.stdout, listed.stderr
        main = None if bare else await _main_checkout(git, common_dir, git_dir, root)
    except GitError as error:
        raise AgentPaneError(
            ErrorCode.GIT_TOO_OLD if error.code is ErrorCode.GIT_TOO_OLD else ErrorCode.PROJECT_NOT_A_GIT_REPO,
            f"Git cannot read the repository {root}: {error.stderr}",
            error.hint,
            error.details,
        ) from error
    repo = Repository(root, git_dir, common_dir, bare, object_format, allowed_filters, main)
    if broken and not branches:
        raise AgentPaneError(
            ErrorCode.PROJECT_NOT_A_GIT_REPO,
            f"Git cannot read any branch of {root}: {broken.decode('utf-8', 'replace').strip()}",
            "Look at it with `git fsck`; nothing has been changed.",
        )
    if head.exit_code != 0 and not branches:
        raise AgentPaneError(
            ErrorCode.PROJECT_EMPTY_REPO,
            f"The repository {root} has no commit yet.",
            "Make a first commit, then add it.",
        )
    await _refuse_filters(git, repo, "HEAD" if head.exit_code == 0 else None)
    return repo


async def _main_checkout(git: GitRunner, common_dir: Path, git_dir: Path, root: Path) -> Path | None:
    """The repository's own checkout, where it is another than `root`, and where it has one.

    Raises PROJECT_PATH_INVALID for a `root` whose checkout has been put elsewhere by core.worktree.
    """
    values = await git.configuration(Place(common_dir, common_dir))
    named = values.get("core.worktree")
    elsewhere = Path(os.path.realpath(common_dir / named)) if named else None
    if git_dir != common_dir:
        beside = common_dir.parent if common_dir.name == ".git" else None
        return None if values.get("core.bare", "").lower() in TRUE else elsewhere or beside
    if elsewhere not in {None, root}:
        raise AgentPaneError(
            ErrorCode.PROJECT_PATH_INVALID,
            f"The checkout of {root} lies elsewhere: its core.worktree is {elsewhere}.",
            "Make a worktree of it with `git worktree add` and add that, or unset core.worktree.",
        )
    return None


def _refuse_endless(path: Path) -> None:
    """Raises EndlessError for a pipe among what is read to open a repository: a bare one, a checkout, a worktree."""
    linked = path / read_line(path / ".git").removeprefix("gitdir: ")
    for folder in (path, path / ".git", linked, linked / read_line(linked / "commondir")):
        found = endless(folder, folder, None)
        if found is not None:
            raise EndlessError(found)


def _locate(path: Path) -> tuple[Path, Path, Path, bool]:
    # GitPython would start a git of its own, with nothing pinned, to see whether there is one.
    os.environ.update(GIT_PYTHON_GIT_EXECUTABLE=os.devnull, GIT_PYTHON_REFRESH="quiet")
    # Half a second of imports that a window without a new project never needs.
    from git import GitConfigParser, InvalidGitRepositoryError, NoSuchPathError, Repo
    from git.types import PathLike

    class WithoutIncludes(Repo):
        """Reads the repository's own configuration alone: an included file may be anything, a pipe among it."""

        def _config_reader(self, config_level: object = None, git_dir: PathLike | None = None) -> GitConfigParser:
            file = self._get_config_path("repository", git_dir)
            return GitConfigParser(file, read_only=True, merge_includes=False)

    try:
        with WithoutIncludes(path, expand_vars=False) as found:
            git_dir, common_dir = Path(os.path.realpath(found.git_dir)), Path(os.path.realpath(found.common_dir))
            bare = found.bare
            root = git_dir if bare or found.working_tree_dir is None else Path(os.path.realpath(found.working_tree_dir))
    except (InvalidGitRepositoryError, NoSuchPathError, ValueError, OSError) as error:
        raise AgentPaneError(
            ErrorCode.PROJECT_NOT_A_GIT_REPO, f"{path} is not the root of a git repository.", _root_hint(path)
        ) from error
    if bare and root == path / ".git":
        raise AgentPaneError(
            ErrorCode.PROJECT_NOT_A_GIT_REPO,
            f"{path} is no checkout for git: its repository is marked as bare.",
            f"If it should be one: git -C {path} config core.bare false. Else add {root}, or a worktree of it.",
            {"root": str(root)},
        )
    if root != path:
        raise AgentPaneError(
            ErrorCode.PROJECT_NOT_A_GIT_REPO,
            f"{path} is not the root of a git repository.",
            f"Its root is {root}: add that folder.",
            {"root": str(root)},
        )
    return root, git_dir, common_dir, bare


def _root_hint(path: Path) -> str:
    for parent in path.parents:
        if (parent / ".git").exists():
            return f"The root of its repository is {parent}: add that folder."
    return "Run `git init` there and make a first commit, or choose another folder."


async def _refuse_filters(git: GitRunner, repo: Repository, commit: str | None) -> None:
    config = await git.settings(checkout_of(repo))
    wanted = config.filters() - repo.allowed_filters
    if not wanted or commit is None:
        return
    text = await _attributes(git, repo, commit, config.values())
    used = sorted(name for name in wanted if re.search(rf"(?m)\sfilter={re.escape(name)}(?:\s|$)", text))
    if used:
        raise AgentPaneError(
            ErrorCode.GIT_FILTER_REQUIRED,
            f"Files of {repo.path} go through the filter {', '.join(used)}, which is a program that git would run.",
            "Without it, they would be stored and checked out as they are. If you trust the program, allow it: "
            f"agentpane project add PATH --allow-filter {used[0]}, or agentpane project filters P --allow {used[0]}.",
            {"filters": used},
        )


async def _attributes(git: GitRunner, repo: Repository, commit: str, config: Mapping[str, str]) -> str:
    """The text of everything that gives attributes to the files of a commit."""
    parts: list[bytes] = []
    for path in await list_tree(git, repo, commit, ""):
        if path.rsplit("/", 1)[-1] == ".gitattributes":
            parts.append(await read_file(git, repo, commit, path) or b"")
    config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    own = config.get("core.attributesfile") or os.path.join(config_home, "git", "attributes")
    for file in (repo.common_dir / "info" / "attributes", Path(os.path.expanduser(own))):
        if file.is_file():
            parts.append(await asyncio.to_thread(file.read_bytes))
    return b"\n".join(parts).decode("utf-8", "replace")


async def base_branch(git: GitRunner, repo: Repository, wanted: str | None) -> BranchTip:
    """The branch that work starts from: what HEAD names unless `wanted` is given. Raises VALIDATION_ERROR."""
    branch = wanted or await asyncio.to_thread(head_branch, repo.git_dir)
    if branch is None:
        raise _bad_base("The repository's HEAD is detached, so it names no branch.", "Give the base branch by name.")
    sha = await branch_tip(git, repo, branch)
    if sha is None:
        hint = "Give the name of an existing local branch; `git branch` lists them."
        raise _bad_base(f"There is no branch {display_path(branch)!r} in {repo.path}.", hint)
    return BranchTip(branch, sha)


def _bad_base(message: str, hint: str) -> AgentPaneError:
    return AgentPaneError(ErrorCode.VALIDATION_ERROR, message, hint, {"field": "base_branch"})


async def branch_tip(git: GitRunner, repo: Repository, branch: str) -> str | None:
    """The commit that a local branch names; None when there is no such branch."""
    return await ref_tip(git, repo, f"refs/heads/{branch}")


async def ref_tip(git: GitRunner, repo: Repository, ref: str) -> str | None:
    """The commit that a full ref names. A loose ref is a file, which is quicker read than asked for."""
    if "\0" in ref or "\n" in ref or ".." in ref:
        return None
    text = read_line(repo.common_dir / ref).strip()
    if _SHA.match(text):
        return text
    found = await git.run(objects_of(repo), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", ok=(0, 1, 128))
    return found.line if found.exit_code == 0 else None


async def restore_branch(git: GitRunner, repo: Repository, branch: str, commit: str) -> None:
    """Make a branch that is gone name `commit` again; one that has come back meanwhile is left as it is."""
    nothing = "0" * len(commit)
    await git.run(objects_of(repo), "update-ref", f"refs/heads/{branch}", commit, nothing, ok=(0, 128))


async def delete_refs(git: GitRunner, repo: Repository, refs: Mapping[str, str]) -> tuple[str, ...]:
    """Delete the refs among these that still name the commit beside them; one that is gone or has moved is left.

    Only what lies under refs/agentpane/ can be named. Returns those that git could not delete, locked ones above all.
    """
    if not all(ref.startswith("refs/agentpane/") for ref in refs):
        raise ValueError("not a ref of ours")
    stayed = []
    for ref, commit in refs.items():
        done = await git.run(objects_of(repo), "update-ref", "-d", ref, commit, ok=(0, 1, 128))
        if done.exit_code != 0 and await ref_tip(git, repo, ref) == commit:
            stayed.append(ref)
    return tuple(stayed)


async def commit_tree(git: GitRunner, repo: Repository, commit: str) -> str:
    """The tree of a commit."""
    return (await git.run(objects_of(repo), "rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}")).line


async def merge_base(git: GitRunner, repo: Repository, a: str, b: str) -> str:
    """The commit from which both have gone on. Raises MERGE_BASE_MOVED when they share no history."""
    found = await git.run(objects_of(repo), "merge-base", a, b, ok=(0, 1))
    if found.exit_code != 0:
        raise AgentPaneError(
            ErrorCode.MERGE_BASE_MOVED,
            f"{a[:12]} and {b[:12]} share no history.",
            "The base branch has been replaced; start the task anew from what it is now.",
        )
    return found.line


async def is_ancestor(git: GitRunner, repo: Repository, old: str, new: str) -> bool:
    """Whether `new` holds `old`; a commit that does not exist is held by none."""
    found = await git.run(objects_of(repo), "merge-base", "--is-ancestor", old, new, ok=(0, 1, 128))
    return found.exit_code == 0


async def read_file(git: GitRunner, repo: Repository, commit: str, path: str) -> bytes | None:
    """A file as a commit holds it; None when it is not there, is no regular file, or is larger than 1 MiB."""
    if path.startswith("/") or ".." in path.split("/") or not path:
        return None
    place = objects_of(repo)
    listed = await git.run(place, "ls-tree", "-l", "-z", "--full-tree", commit, "--", path)
    for record in split_z(listed.stdout):
        about, _, name = record.partition(b"\t")
        mode, kind, sha, size = about.split()
        regular = kind == b"blob" and mode != b"120000" and decode_path(name) == path
        # A missing object has no number for its size; reading it says what is wrong.
        if regular and not (size.isdigit() and int(size) > READ_LIMIT):
            return (await git.run(place, "cat-file", "blob", sha.decode("ascii"))).stdout
    return None


async def list_tree(git: GitRunner, repo: Repository, commit: str, prefix: str) -> tuple[str, ...]:
    """The paths of all files of a commit that lie in the folder `prefix`; all of them when it is empty."""
    within = ("--", prefix.rstrip("/") + "/") if prefix else ()
    listed = await git.run(objects_of(repo), "ls-tree", "-r", "-z", "--full-tree", "--name-only", commit, *within)
    return tuple(decode_path(name) for name in split_z(listed.stdout))


async def make_repository(
    git: GitRunner,
    path: Path,
    files: Mapping[str, bytes],
    message: str,
    branch: str = "main",
    executable: frozenset[str] = frozenset(),
) -> Repository:
    """Make a repository with these files as its first commit. Raises PROJECT_PATH_EXISTS."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise AgentPaneError(
            ErrorCode.PROJECT_PATH_EXISTS, f"{path} exists and is not empty.", "Choose another folder."
        )
    await asyncio.to_thread(_write_files, path, files, executable)
    await git.run(None, "init", "--quiet", "--template=", f"--initial-branch={branch}", ".", cwd=path)
    root = Path(os.path.realpath(path))
    place = Place(root / ".git", root / ".git", root)
    await git.run(place, "add", "--all", "--", ".")
    tree = (await git.run(place, "write-tree")).line
    commit = (await git.run(place, "commit-tree", tree, stdin=message.encode())).line
    await git.run(place, "update-ref", f"refs/heads/{branch}", commit, "")
    return await open_repository(git, path)


def _write_files(path: Path, files: Mapping[str, bytes], executable: frozenset[str]) -> None:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755 if name in executable else 0o644)
