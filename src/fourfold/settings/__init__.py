"""Settings: how each is declared once, and those of reading data. Torch-free."""
