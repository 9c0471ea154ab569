"""The recipes: sizes and presets, one file for each card. A recipe takes a space and a size and returns a model."""
