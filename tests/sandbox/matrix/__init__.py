"""Every guarantee of the sandbox in every tier, asserted by attempts that succeed where nothing protects.

An attempt is data: bait laid outside the worktree, a command that goes for it, and a look at the outside
afterwards. `catalogue` holds them all, `document` renders them as docs/sandbox.md.
"""
