"""Published language models beside those of a comparison: measured on the same text, but not trained for it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from fourfold.adapters import open_published
from fourfold.core import GenerativeModel, LogProb, Space
from fourfold.metrics import Measurement
from fourfold.spaces import Text
from fourfold.tasks.evaluation import mean_likelihood, scored_examples
from fourfold.tasks.language import stream, text_parts
from fourfold.tournament.baselines import Rated
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.entries import Entry
from fourfold.tournament.rivals import Rival
from fourfold.vocabulary import Kind
from fourfold_published.adapters import LanguageModels

__all__ = ["LanguageRival", "draw_windows", "score_windows"]

ROWS = 16
"""Windows that are scored at once."""
SUMMARY = (
    "A published model, trained elsewhere and not under this budget; it may have seen this text. "
    "Its tokens are its own, so it is scored on the same windows as text"
)


@final
class LanguageRival(Rival):
    """Published language models beside models of text that are trained here."""

    def recognises(self, path: Path) -> bool:
        return LanguageModels().recognises(path)

    def check(self, path: Path, space: Space) -> None:
        if not isinstance(space, Text):  # other spaces have no words to score
            raise TypeError(f"{path}: data must be text to be compared with it, got {space}; leave it out")
        open_published(path)

    def rate(self, path: Path, benchmark: Benchmark, device: torch.device) -> Rated:
        start = time.perf_counter()
        model = open_published(path).to(device)
        seconds = time.perf_counter() - start
        space, patience = benchmark.dataset.space, benchmark.protocol.patience
        assert isinstance(space, Text)  # by `check`
        test = scored_examples(benchmark.dataset, benchmark.protocol.likelihood_examples)
        scored = score_windows(model, space, test.x, patience)
        scores = [mean_likelihood(scored, space.unit)]
        start = time.perf_counter()
        x = draw_windows(model, space, benchmark.n, benchmark.seed, patience)
        if x is not None:
            drawing = 1e3 * (time.perf_counter() - start) / len(x)
            scores += benchmark.quality(x)
            scores.append(
                Measurement("milliseconds_per_sample", drawing, n=len(x), protocol="once", unit="ms", better="lower")
            )
        windows = torch.zeros(0, space.length, dtype=torch.long) if x is None else x
        return Rated(Entry(path.name, (), tuple(scores)), SUMMARY, windows, seconds)


@torch.no_grad()
def score_windows(model: GenerativeModel, space: Text, x: Tensor, seconds: float = math.inf) -> LogProb:
    """``log p`` of windows ``(B, L)`` of any space of text, in the model's own tokens.

    The text of a window has many tokenisations, of which the tokenizer's own is scored, so the figure is a lower bound.
    It is exact where both have the same characters or bytes. Half characters at the edges of a window are not scored.

    Args:
        model: of text, drawn token by token.
        space: of the windows.
        x: ids.
        seconds: after this time, no further batch is scored.
    """
    text, estimand = text_parts(model)
    start, parts = time.perf_counter(), list[LogProb]()
    same = (text.tokenizer, text.vocabulary) == (space.tokenizer, space.vocabulary)
    own_note = "its own tokens, one tokenisation"
    kind, note = space.kind_of_text(Kind.EXACT, "the same tokens") if same else (Kind.LOWER_BOUND, own_note)
    for rows in torch.split(x, ROWS):
        texts = [space.show(row) if space.vocabulary else space.show(row).strip("\ufffd") for row in rows]
        ids = list(rows.long()) if same else [text.parse(line) for line in texts]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(model.device)
        lengths = torch.tensor([len(row_ids) for row_ids in ids], device=model.device)
        mask = torch.arange(padded.shape[1], device=model.device) < lengths[:, None]
        nats = (estimand(padded).double() * mask).sum(1).float().cpu()
        sizes = torch.tensor([len(line.encode()) for line in texts], dtype=torch.float64)
        sizes = space.byte_counts(rows) if same else sizes
        parts.append(LogProb(nats, kind, x.shape[1], evaluations=1, note=note, byte_counts=sizes))
        if time.perf_counter() - start > seconds:
            break
    return LogProb.cat(parts)


@torch.no_grad()
def draw_windows(model: GenerativeModel, space: Text, n: int, seed: int, seconds: float = math.inf) -> Tensor | None:
    """Samples as windows ``(n, L)`` of another space of text. ``None`` if they cannot be drawn in time.

    Characters that the space does not have are left out.
    """
    text, _ = text_parts(model)
    start, windows = time.perf_counter(), list[Tensor]()
    for first in range(0, n, 64):
        count = min(64, n - first)
        tokens: list[Tensor] = []
        rows: list[Tensor] = []
        for step, token in enumerate(stream(model, "", count, seed + first), 1):
            tokens.append(token.cpu())
            if time.perf_counter() - start > seconds:
                return None
            if step % 16 == 0:
                rows = [_ids_of(text.show(row), space) for row in torch.stack(tokens, 1)]
                if min(map(len, rows)) >= space.length or step >= 8 * space.length:
                    break
        if min(map(len, rows)) < space.length:
            return None
        windows.append(torch.stack([row[: space.length] for row in rows]))
    return torch.cat(windows).long()


def _ids_of(text: str, space: Text) -> Tensor:
    """The ids of a text without the characters that a space does not have."""
    return space.ids("".join(c for c in text if c in space.vocabulary) if space.vocabulary else text)
