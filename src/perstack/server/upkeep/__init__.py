"""For who runs the server: the first key, copies, moves, and whether the database is what was written."""
