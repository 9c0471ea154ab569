"""The command line, a thin shell: :mod:`~fourfold.cli.app` gathers the commands of the other modules and of wings."""
