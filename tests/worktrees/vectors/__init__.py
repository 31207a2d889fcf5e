"""Git as an attacker's tool: what an agent can plant, shown to work under plain git, and not to work under ours.

A vector is data: something planted, and the plain commands under which it works. `calls` has everything that the engine
does with git; `catalogue` holds all vectors; `document` renders them as docs/git-vectors.md.
"""
