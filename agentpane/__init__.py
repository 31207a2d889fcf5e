"""AgentPane: a local-first board for developers who work with many coding agents at once."""

__version__ = "0.1.0"
