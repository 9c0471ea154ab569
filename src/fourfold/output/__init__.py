"""Output: printable texts, and HTML in notebooks."""
