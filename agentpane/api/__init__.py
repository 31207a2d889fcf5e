"""The door between the engine and its clients: commands, events, and how they travel. It holds no rule."""
