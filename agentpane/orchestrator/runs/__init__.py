"""A run from the queue to its end: what it is told, what it does, what it uses, what it says."""
