"""Trees as arrays: features, thresholds and children of their nodes, which rows walk by indexing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fourfold.core import Part

__all__ = ["DEPTH", "Forest"]

DEPTH = 12
"""Steps from the root to a leaf, at most."""


class Forest(Part, nn.Module):
    """Trees of as many nodes. A tree that is not grown is a root alone.

    Args:
        count: of the trees.
        leaves: of each tree, at most. At least 2.

    Raises:
        ValueError: for fewer than two leaves.
    """

    feature: Tensor
    threshold: Tensor
    child: Tensor

    def __init__(self, count: int, leaves: int) -> None:
        super().__init__()
        if leaves < 2:
            raise ValueError(f"leaves must be at least 2, got {leaves}")
        self.leaves, self.nodes = leaves, 2 * leaves - 1
        kind = torch.int16 if self.nodes < 1 << 15 else torch.int32
        self.register_buffer("feature", torch.zeros(count, self.nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(count, self.nodes))
        self.register_buffer("child", torch.full((count, self.nodes, 2), -1, dtype=kind))

    def plant(self, r: int, tree: Any, index: Tensor) -> None:
        """Make tree ``r`` one of scikit-learn's, whose features have their places among all features in an index."""
        nodes = slice(tree.node_count)
        self.feature[r, nodes] = index[torch.from_numpy(tree.feature).clamp(min=0).long()].int()
        self.threshold[r, nodes] = torch.from_numpy(tree.threshold).float()
        self.child[r, nodes, 0] = torch.from_numpy(tree.children_left).to(self.child)
        self.child[r, nodes, 1] = torch.from_numpy(tree.children_right).to(self.child)

    def paths(self, inputs: Tensor, trees: Tensor) -> Tensor:
        """The nodes from root to leaf of each row in some trees ``(R,)`` or ``(B, R)``: ``(B, R, D)``, -1 behind it."""
        node = torch.zeros(len(inputs), trees.shape[-1], dtype=torch.long, device=inputs.device)
        path = [node]
        for _ in range(DEPTH):
            value = torch.gather(inputs, 1, self.feature[trees, node].long())
            after = self.child[trees, node, (value > self.threshold[trees, node]).long()].long()
            if bool((after < 0).all()):
                break
            path.append(torch.where(path[-1] < 0, -1, after))
            node = torch.where(after < 0, node, after)
        return torch.stack(path, 2)
