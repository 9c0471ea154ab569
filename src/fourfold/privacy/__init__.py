"""Differential privacy: the guarantee, the accountant, and the secret that draws batches and noise."""

from __future__ import annotations

from fourfold.privacy.guarantee import Guarantee, guarantee_words, parse_guarantee
from fourfold.privacy.protection import Protection, new_secret

__all__ = ["Guarantee", "Protection", "guarantee_words", "new_secret", "parse_guarantee"]
