"""The settings of the window, of a project and of its agents, and what may be spent."""
