"""The dtype in which a step computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from fourfold.settings.declaration import check_precision

__all__ = ["FLOAT32", "PRECISIONS", "Precision", "parse_precision"]


@dataclass(frozen=True)
class Precision:
    """The number format in which a step computes.

    Attributes:
        name: ``float32``, ``bf16`` or ``autocast``.
        weights: dtype in which networks hold their weights. Masters, losses and optimizers are float32.
        autocast: whether matrix products and convolutions are cast to bfloat16 one by one.
        compiled: whether terms go through ``torch.compile``.
    """

    name: str
    weights: torch.dtype = torch.float32
    autocast: bool = False
    compiled: bool = False

    def context(self, device: torch.device) -> AbstractContextManager[object]:
        """The context that a forward pass runs in."""
        return torch.autocast(device.type, torch.bfloat16) if self.autocast else nullcontext()

    def __str__(self) -> str:
        return self.name + (", compiled" if self.compiled else "")


FLOAT32 = Precision("float32")
PRECISIONS = {
    "float32": FLOAT32,
    "bf16": Precision("bf16", weights=torch.bfloat16),
    "autocast": Precision("autocast", autocast=True),
}


def parse_precision(name: str, compiled: bool = False) -> Precision:
    """The precision of a name.

    Raises:
        ValueError: for an unknown name, or if steps shall be compiled and there is no C++ compiler.
    """
    check_precision(name, compiled)
    return replace(PRECISIONS[name], compiled=compiled)
