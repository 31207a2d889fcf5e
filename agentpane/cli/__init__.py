"""The headless commands: clients of the engine for scripts and terminals. They decide nothing and load no Qt."""
