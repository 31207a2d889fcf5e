"""The files of one worktree: opened so that nothing leads outside, walked as git sees them, searched line by line.

It is light to import, since searches run in processes of their own.
"""
