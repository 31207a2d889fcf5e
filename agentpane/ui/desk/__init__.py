"""What every page has in hand: the link to the engine, what is known, the actions, jobs and notices."""
