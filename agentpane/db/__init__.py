"""SQLite: the only package that knows a table. Plain functions of a connection in, frozen values out."""
