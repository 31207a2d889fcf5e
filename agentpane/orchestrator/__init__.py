"""The story of a task, from a card to a merged diff: everything that decides and remembers."""
