"""Texts of a table by a model of language: each follows the values of its row, written as a line."""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import GenerativeModel, LogProb
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.regular import open_regular
from fourfold.maths.categorical import categorical
from fourfold.output.printable import plural
from fourfold.paradigms.autoregressive import TokenConditionals
from fourfold.runs.run import Run
from fourfold.spaces import Text
from fourfold.spaces.texts import TextWriter
from fourfold.tasks.language import text_parts
from fourfold.vocabulary import Kind
from fourfold_published.llama import LlamaTransformer
from fourfold_published.transformers import PublishedTransformer

__all__ = ["PublishedTexts", "lines_of"]

EXAMPLES = 6
"""Training rows that a published model is shown."""
TOGETHER = 32
"""Rows whose texts are drawn at once."""
TIMED = 2
"""Rows whose texts are drawn first, which tells how long the others take at most."""
SHARE = 0.75
"""The share of unfinished texts from which on finished ones are left out."""
PATIENCE = 20.0
"""Seconds of writing that are announced beforehand."""


@final
@dataclass(frozen=True)
class PublishedTexts(TextWriter):
    r"""``p(text | row)`` by a model of language: ``p(text, newline | examples, "name: value; ...; column:")``.

    A published model is shown a few training rows in this form, so it may repeat their texts. A model that was trained
    here, such as one on :func:`lines_of` of the training rows, is shown none.

    Attributes:
        path: the file or folder of the model.
        digest: SHA-256 of its files.
        examples: the lines of the training rows that it is shown.
        longest: the most bytes of a text, as in the training rows.
        empty: the share of rows without a text.
    """

    path: str
    digest: str
    examples: str
    longest: int
    empty: float = 0.0

    @classmethod
    def of(cls, path: str, column: str, rows: pd.DataFrame, texts: pd.Series) -> Self:
        place = Path(path).expanduser().absolute()
        digest = _digest(place)
        _opened(str(place), digest)  # refuses what is no model of text
        texts = texts.map(_in_line)
        some = [] if (place / "model.json").is_file() else np.flatnonzero(texts != "")[:EXAMPLES].tolist()
        lines = lines_of(column, rows.iloc[some], texts.iloc[some])
        longest = max((len(text.encode()) for text in texts), default=0)
        return cls(str(place), digest, "".join(lines), longest, float((texts == "").mean()))

    @property
    def words(self) -> str:
        examples = self.examples.count("\n")
        own = f"; it is shown {plural(examples, 'training row')}, whose texts it may repeat" if examples else ""
        return f"{Path(self.path).name}{own}"

    def texts(self, column: str, rows: pd.DataFrame, seeds: list[int]) -> list[str]:
        model = _opened(self.path, self.digest)
        prompts = [*_beginnings(column, rows)]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        result, start = [""] * len(prompts), time.perf_counter()
        few, many = order[:TIMED], order[TIMED:]
        for part in (few, *(many[first : first + TOGETHER] for first in range(0, len(many), TOGETHER))):
            random = {i: np.random.default_rng(seeds[i] & (2**63 - 1)) for i in part}
            there = [i for i in part if random[i].random() >= self.empty]
            numbers = [random[i] for i in there]
            continuations = _continuations(model, self.examples, [prompts[i] for i in there], numbers, self.longest)
            for i, text in zip(there, continuations, strict=True):
                result[i] = text
            seconds = (time.perf_counter() - start) / max(len(part), 1) * len(many)
            if part is few and seconds > PATIENCE:
                words = f"{Path(self.path).name} writes {len(order):,} texts of {column}"
                logging.getLogger(__name__).warning("%s: %.1f min at most by the first", words, seconds / 60)
        return result

    def log_prob(self, column: str, rows: pd.DataFrame, texts: list[str]) -> LogProb:
        """As :class:`TextWriter` says: a lower bound, since it counts one of the tokenisations of a text."""
        model = _opened(self.path, self.digest)
        space, estimand = text_parts(model)
        before, ends, nats = self.examples or "\n", _ends(space), []
        for beginning, text in zip(_beginnings(column, rows), texts, strict=True):
            if not _in_line(text):
                nats.append(math.log(self.empty) if self.empty else -math.inf)
                continue
            prompt, line = space.parse(before + beginning), space.parse(" " + _in_line(text))
            with torch.no_grad():
                masses = _next_masses(estimand, torch.cat([prompt, line]).to(model.device), len(line) + 1)
            tokens = masses[:-1].gather(1, line.to(masses.device)[:, None].long())
            whole = tokens.sum() + masses[-1, ends.to(masses.device)].logsumexp(0)
            nats.append(float(whole) + math.log1p(-self.empty))
        note = "one tokenisation of each text; nats of its tokens and of the end of its line"
        return LogProb(torch.tensor(nats), Kind.LOWER_BOUND, 1, evaluations=1, note=note)


def lines_of(column: str, rows: pd.DataFrame, texts: Sequence[str] | pd.Series) -> list[str]:
    """Rows with a text as the lines that a model of language is trained on, or shown.

    Args:
        column: the name of the column of texts.
        rows: values as texts. Empty ones are left out.
        texts: of the rows.
    """
    return [f"{start} {_in_line(text)}\n" for start, text in zip(_beginnings(column, rows), texts, strict=True)]


def _beginnings(column: str, rows: pd.DataFrame) -> Iterator[str]:
    """The line of each row up to its text."""
    for values in rows.itertuples(index=False):
        pairs = (f"{name}: {value}" for name, value in zip(rows, values, strict=True) if value not in ("", None))
        yield _in_line("; ".join([*pairs, f"{column}:"]))


def _in_line(text: str) -> str:
    return " ".join(text.split())


@functools.lru_cache(maxsize=1)
def _opened(path: str, digest: str) -> GenerativeModel:
    """The model of a writer.

    Raises:
        ValueError: if it is not there, is another one, or draws no text token by token.
    """
    if _digest(Path(path)) != digest:
        raise ValueError(f"{path} must be the model that wrote the texts in training, got another: put it back")
    model = Run.load(path, "cpu").model
    try:
        text_parts(model)
    except TypeError as error:
        raise ValueError(f"text_model {path}: {error}") from None
    return model


def _digest(path: Path) -> str:
    """SHA-256 of a model's files: its weights, settings and tokenizer.

    Raises:
        ValueError: where there are none.
    """
    files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*.json")]
    sha = hashlib.sha256()
    try:
        for file in sorted(file for file in files if file.name != "card.json"):
            sha.update(file.name.encode())
            with open_regular(file) as content:
                while block := content.read(1 << 20):
                    sha.update(block)
    except OSError as error:
        raise ValueError(f"text_model {path}: cannot be read ({error.strerror or error}): name another") from None
    if not files:
        raise ValueError(f"text_model {path}: must be a file or folder of a model, got none: put it back, or fit again")
    return sha.hexdigest()


@functools.lru_cache(maxsize=2)
def _ends(space: Text) -> Tensor:
    """The tokens that end a line: those that begin with a newline, and ends of documents."""
    tokens = space.token_bytes()
    ends = {i for i, token in enumerate(tokens) if token.startswith(b"\n")}
    return torch.tensor(sorted(ends | set(space.tokenizer.ends if space.tokenizer else ())))


def _next_masses(estimand: TokenConditionals, ids: Tensor, count: int) -> Tensor:
    """Logarithms of the masses of each token at the last ``count`` places, the next one's included, ``(count, V)``."""
    state: Any = estimand.prompt(estimand.begin(1), ids[None, : len(ids) - count + 1])
    rows = []
    for token in [*ids[len(ids) - count + 1 :].tolist(), None]:
        rows.append(estimand.logits(state)[0].double().log_softmax(0))
        if token is not None:
            estimand.take(state, ids.new_tensor([token]))
    return torch.stack(rows)


@torch.no_grad()
def _continuations(
    model: GenerativeModel, examples: str, prompts: Sequence[str], random: Sequence[np.random.Generator], longest: int
) -> list[str]:
    """A text for each prompt. What all share is read once. Each row is fed its prompt, and then what it draws."""
    if not prompts:
        return []
    space, estimand = text_parts(model)
    shared = space.parse(examples or "\n").to(model.device)
    fed = [space.parse(prompt).tolist() for prompt in prompts]
    ends = torch.zeros(space.tokens, dtype=torch.bool).index_fill(0, _ends(space), True)
    copied = isinstance(estimand.net, PublishedTransformer | LlamaTransformer)  # our own caches branch once alone
    if copied:
        state = _alike(estimand.prompt(estimand.begin(1), shared[None]), torch.zeros(len(fed), dtype=torch.long))
    else:
        state = estimand.prompt(estimand.begin(len(fed)), shared.expand(len(fed), -1))
    least = min(map(len, fed))
    common = least if least <= estimand.room(state) else 0
    if common:
        estimand.read(state, torch.tensor([ids[:common] for ids in fed], device=model.device))
    rows, tokens_of, texts = [*range(len(fed))], [list[int]() for _ in fed], dict[int, str]()
    for step in range(common, max(map(len, fed)) + longest + 1):
        logits = estimand.logits(state)[:, : space.tokens].cpu()
        first = torch.tensor([step == len(fed[row]) for row in rows])
        logits = logits.masked_fill(first[:, None] & ends, -math.inf)  # the share of empty texts is drawn before
        u = torch.tensor([random[row].random() if step >= len(fed[row]) else 0.0 for row in rows])
        tokens = categorical(logits, u).tolist()
        for k, row in enumerate(rows):
            if step < len(fed[row]):
                tokens[k] = fed[row][step]
            elif row not in texts:
                tokens_of[row].append(tokens[k])
                text = space.show(torch.tensor(tokens_of[row][:-1] if ends[tokens[k]] else tokens_of[row]))
                if ends[tokens[k]] or "\n" in text.strip("\n ") or len(text.encode()) > longest:
                    texts[row] = _in_line(text.strip().partition("\n")[0])
        if len(texts) == len(fed):
            break
        estimand.take(state, torch.tensor(tokens, device=model.device))
        going = [k for k, row in enumerate(rows) if row not in texts]
        if copied and len(going) <= SHARE * len(rows):  # a copy of the cache costs as much as a few steps
            state, rows = _alike(state, torch.tensor(going)), [rows[k] for k in going]
    return [texts.get(row, "") for row in range(len(fed))]


def _alike(state: Any, rows: Tensor) -> Any:
    """The state of some rows of a batch."""
    place = rows.to(state.last.device)
    state.cache, state.last = state.cache.select(place), state.last[place]
    state.past = [part[place] for part in state.past]
    return state
