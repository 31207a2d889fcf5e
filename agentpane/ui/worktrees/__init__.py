"""The page of worktrees, the recovery bin and what the doctor finds."""
