"""The small parts that every page is made of. They know nothing of tasks, projects or the engine."""
