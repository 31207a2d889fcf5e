"""What a worktree holds, kept whole before it is discarded, and laid out again."""
