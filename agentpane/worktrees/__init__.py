"""Worktrees, snapshots, diffs and merges: the only package that starts git."""

from agentpane.domain.diff import DiffStat, FileChange
from agentpane.worktrees.conflicts.conflicted import ConflictedMerge, merging_ref
from agentpane.worktrees.git.runner import GitError
from agentpane.worktrees.keeping.recovery import recovery_ref
from agentpane.worktrees.merging.merge import Journal
from agentpane.worktrees.merging.scratch import Scratch
from agentpane.worktrees.refs.branch_places import BranchPlaces, branch_places
from agentpane.worktrees.service import Worktrees
from agentpane.worktrees.snapshots.snapshot import reviewed_ref
from agentpane.worktrees.snapshots.turns import turn_ref
from agentpane.worktrees.trees.remove import Late
from agentpane.worktrees.values import (
    BranchTip,
    Conflicted,
    ConflictPath,
    CreatedWorktree,
    ListedWorktree,
    Merged,
    MergeIntent,
    MergeOutcome,
    MergePlan,
    MergePreview,
    MergeRecovery,
    MergeRefused,
    MergeStrategy,
    NothingChanged,
    Recovery,
    RecoveryOutcome,
    Repository,
    Snapshot,
    TreeChanged,
    TurnTaken,
    TurnTree,
    Undone,
    UndoOutcome,
    UndoPlan,
    Worktree,
    WorktreePlan,
)

__all__ = [
    "BranchPlaces",
    "BranchTip",
    "ConflictPath",
    "Conflicted",
    "ConflictedMerge",
    "CreatedWorktree",
    "DiffStat",
    "FileChange",
    "GitError",
    "Journal",
    "Late",
    "ListedWorktree",
    "MergeIntent",
    "MergeOutcome",
    "MergePlan",
    "MergePreview",
    "MergeRecovery",
    "MergeRefused",
    "MergeStrategy",
    "Merged",
    "NothingChanged",
    "Recovery",
    "RecoveryOutcome",
    "Repository",
    "Scratch",
    "Snapshot",
    "TreeChanged",
    "TurnTaken",
    "TurnTree",
    "UndoOutcome",
    "UndoPlan",
    "Undone",
    "Worktree",
    "WorktreePlan",
    "Worktrees",
    "branch_places",
    "merging_ref",
    "recovery_ref",
    "reviewed_ref",
    "turn_ref",
]
