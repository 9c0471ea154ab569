"""The declarations of the commands. They load no torch. The functions that do the work stand in :mod:`fourfold.cli`."""
