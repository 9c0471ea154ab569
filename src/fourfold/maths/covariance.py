"""Covariances of few rows, shrunk towards a multiple of the identity.

Ledoit, Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices
(https://doi.org/10.1016/S0047-259X(03)00096-4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.machine.libraries import sklearn

__all__ = ["class_covariance", "shrunk_covariance"]


def class_covariance(z: Tensor, every: Tensor) -> Tensor:
    """The covariance of a class, ``(Q, Q)``, with the block of ``every`` for columns of fewer than three values."""
    few = (~torch.isnan(z)).sum(0) < 3
    own = torch.where(few.unsqueeze(1) | few, 0.0, shrunk_covariance(z))
    return torch.where(few.unsqueeze(1) & few, every, own)


def shrunk_covariance(z: Tensor) -> Tensor:
    """The covariance of rows, ``(Q, Q)``, by Ledoit and Wolf's share of the identity.

    Missing values lie at the mean, and do not count: the variance of a column is that of the values that it has.
    """
    share = (~torch.isnan(z)).double().mean(0)
    rows = (z.nan_to_num() / torch.where(share > 0, share, 1.0).sqrt()).numpy()
    if not rows.shape[1] or len(rows) < 2:
        return torch.eye(rows.shape[1], dtype=torch.float64)
    return torch.from_numpy(sklearn.covariance.ledoit_wolf(rows, assume_centered=True)[0])
