"""Branches and commits, read and written as git itself does it, and the locks on them."""
