"""What is shown: printable texts, and HTML in notebooks."""
