"""The vectors, a module for each kind of thing that is planted."""
