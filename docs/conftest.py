"""Doctests of tools that need the extra of the documentation run where it is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("griffe") else ["joint_names.py"]
