"""The machine: its threads, its hardware, the share of the processor, its files."""
