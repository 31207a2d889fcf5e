"""The attempts, as data: a module for each kind of thing that is gone for."""
