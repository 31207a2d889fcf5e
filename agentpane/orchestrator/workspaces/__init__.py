"""Worktrees from the pool to a run's hands, and whatever an engine that died has left of them."""
