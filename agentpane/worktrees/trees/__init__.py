"""Worktrees of ours: made, kept ready, told from what is not ours, and taken away."""
