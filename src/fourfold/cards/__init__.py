"""The cards of the paradigms: one file each, without torch, found by :func:`fourfold.paradigms.cards`."""
