"""An extension of the documentation's parser, for habits of these docstrings.

``mean, std: of the law`` describes two arguments. Checks of a dataclass after it is made are not part of its interface.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_JOINT = re.compile(r"^( +)(\w+(?:, \w+)+): (.+(?:\n\1 .+)*)", re.MULTILINE)


class JointNames(griffe.Extension):
    """Repeats a description that several names share, once for each name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.name == "__post_init__":
            obj.docstring = None
        if obj.docstring:
            obj.docstring.value = _JOINT.sub(_split, obj.docstring.value)


def _split(match: re.Match[str]) -> str:
    indent, names, words = match.groups()
    return "\n".join(f"{indent}{name}: {words}" for name in names.split(", "))
