"""A run: its folder and what stands in it, its settings, budget and precision."""
