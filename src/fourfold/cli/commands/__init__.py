"""The declarations of the commands. They load no torch; the functions that do the work stand in :mod:`fourfold.cli`."""
