"""The headless commands: one module for each noun, each a client of the engine. No Qt, no database, no git."""
