"""A conflict that is being resolved: how both sides were laid out in the worktree, and what has to become of each file.

A side that cannot be marked inside a file is a file of its own beside it, `path~card` or `path~main`; as long as one
of those is there, or a marker line is, the conflict is undecided.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentpane.domain.gitpaths import display_path

# What stands behind the markers, whatever the branches are called.
CARD_LABEL = "this card"
BASE_LABEL = "before both"
MOST_SHOWN = 200  # conflicted paths that a card shows


class Stage(StrEnum):
    """How far a resolution is. A stage says what has to be done next, so that a killed engine's successor knows."""

    PLANNED = "planned"  # recorded; the files are still to be written
    WRITTEN = "written"  # the conflicted merge lies in the worktree
    ABANDONED = "abandoned"  # the worktree is still to be set back


class Resolver(StrEnum):
    AGENT = "agent"
    PERSON = "person"


class Layout(StrEnum):
    """How both sides of a path lie in the worktree."""

    MARKED = "marked"  # one file with both sides between marker lines
    BOTH = "both"  # the path is the card's version; the file beside it is the target's
    CARD = "card"  # the card alone has it: in the file beside the path, which is free
    TARGET = "target"  # the target alone has it: likewise
    POINTER = "pointer"  # a submodule: the file beside it has the commits of both sides, between marker lines


@dataclass(frozen=True, slots=True)
class LaidPath:
    """One conflicted path, as it lies in the worktree.

    kind: as git names it: contents, add/add, modify/delete, rename/rename, binary, submodule …
    beside: a file that was laid for this conflict only, and may not be left.
    marked: the file holds marker lines.
    separators: how many lines of it look like the marker between the sides, and are the file's own.
    """

    path: str
    kind: str
    layout: Layout
    beside: str | None = None
    marked: bool = False
    separators: int = 0


@dataclass(frozen=True, slots=True)
class Resolving:
    """What a card shows of its resolution."""

    target: str
    by: Resolver
    stage: Stage
    paths: tuple[LaidPath, ...]  # at most MOST_SHOWN of them
    more: int = 0  # how many paths there are besides

    @property
    def count(self) -> int:
        return len(self.paths) + self.more

    @property
    def by_hand(self) -> bool:
        """Whether a person is to work in the worktree."""
        return self.by is Resolver.PERSON and self.stage is not Stage.ABANDONED


@dataclass(frozen=True, slots=True)
class Merging:
    """A merge of the target into a card's worktree, from its record to the commit with both parents.

    target: the branch; sha: its commit that is merged, the second parent; card: the card's commit, the first.
    laid: a commit that holds what was written, and keeps both parents from being collected, under a ref of the run.
    snapshot: the reviewed commit that the card goes back to when the resolution is abandoned.
    """

    target: str
    sha: str
    card: str
    laid: str
    run_id: str
    snapshot: str
    by: Resolver
    stage: Stage
    paths: tuple[LaidPath, ...]

    @property
    def shown(self) -> Resolving:
        return Resolving(self.target, self.by, self.stage, self.paths[:MOST_SHOWN], len(self.paths[MOST_SHOWN:]))


@dataclass(frozen=True, slots=True)
class Undecided:
    """A file that still holds markers, at these lines (from 1), or, without lines, one that lies beside its path."""

    path: str
    lines: tuple[int, ...] = ()


def what_to_do(laid: LaidPath, target: str) -> str:
    """What whoever resolves it has to do about one path."""
    path, beside = display_path(laid.path), display_path(laid.beside or "")
    markers = " Take the marker lines in it out as well." if laid.marked else ""
    match laid.layout:
        case Layout.MARKED:
            words = "both sides are between markers. Make one text of them, and take every marker line out."
        case Layout.BOTH:
            words = f"it is this card's; {beside} is {target}'s. Make {path} what it should be, then delete {beside}."
        case Layout.CARD:
            words = f"only this card has it, as {beside}. {_keep_or_go(path, beside)}{markers}"
        case Layout.TARGET:
            words = f"only {target} has it, as {beside}. {_keep_or_go(path, beside)}{markers}"
        case Layout.POINTER:
            words = (
                f"{beside} has the submodule's commit of each side. Leave the one line in it that is to be taken; "
                "delete the file to drop the submodule."
            )
    return f"{path} ({laid.kind}): {words}"


def _keep_or_go(path: str, beside: str) -> str:
    return f"To keep it, rename {beside} to {path}, or to where it belongs; to go without it, delete {beside}."


def open_words(left: tuple[Undecided, ...], most: int = 10) -> str:
    """What is still undecided, with the lines of its markers."""
    named = [
        f"{display_path(each.path)}:{','.join(map(str, each.lines[:most]))}" if each.lines else display_path(each.path)
        for each in left[:most]
    ]
    more = f" and {len(left) - most} more" if len(left) > most else ""
    return ", ".join(named) + more
