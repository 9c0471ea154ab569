"""Transcription: the text that is said in a sound, as an autoregressive model of text given sound.

    log p(text | sound) = sum_i log p(token_i | earlier tokens, sound), the end of the text included

An encoder reads the sound at once. A decoder writes the text token by token and attends to the encoder (Chan,
Jaitly, Le, Vinyals 2016, Listen, Attend and Spell, https://arxiv.org/abs/1508.01211). While it learns, the encoder also
names the tokens in the order of the frames, without a decoder (Graves et al. 2006,
https://doi.org/10.1145/1143844.1143891), which teaches it early where each token is said (Kim, Hori, Watanabe 2017,
https://arxiv.org/abs/1609.06773). A search may rank texts by both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Batch, Estimand, Measure, Noise, Objective, States, Term, unknown
from fourfold.estimands import Conditionals, StepwiseConditionals
from fourfold.maths.categorical import categorical
from fourfold.paradigms.autoregressive import LOGITS, Uniforms
from fourfold.vocabulary import Principle
from fourfold_speech.networks import SpeechNetwork

__all__ = ["Alignments", "JointLikelihood", "TranscriptConditionals", "Writing"]

GRID = 16
"""Tokens, to a multiple of which texts are scored: a processor makes kernels for each new shape."""


class Writing:
    """Texts that are being written.

    Args:
        sound: the sound that each is the transcript of.
        cache: what the network remembers of it.
        last: the ids that the network has not seen yet, ``(B, T)``.
        finished_mask: which texts have ended, ``(B,)`` bool.
    """

    def __init__(self, sound: States, cache: Any, last: Tensor, finished_mask: Tensor) -> None:
        self.sound, self.cache, self.last, self.finished_mask = sound, cache, last, finished_mask
        self.uniforms: Uniforms | None = None

    def select(self, rows: Tensor) -> Writing:
        """A copy of some texts ``(B',)``, in that order. One may be there several times."""
        return Writing(self.sound.select(rows), self.cache.select(rows), self.last[rows], self.finished_mask[rows])


@final
class TranscriptConditionals(StepwiseConditionals):
    """``softmax(net(x_<i, sound))`` over tokens, up to the end of a text. Behind it there are only ends, for sure.

    Args:
        net: gives the logits of the next token.
        length: the most tokens of a text, its end included.
        end: the id that ends a text.
    """

    reads_condition = True
    measure = Measure.COUNTING

    def __init__(self, net: SpeechNetwork, length: int, end: int) -> None:
        super().__init__()
        self.net, self.end = net, end
        self.event = (length,)

    @property
    def summary(self) -> str:
        return "the distribution of each token of a text given the earlier ones and the sound"

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i, sound)``, ``(B, L)``. 0 behind the end of a text.

        Without a sound it is conditioned on silence.
        """
        return self.log_masses(x, self.encode(len(x), cond))

    def encode(self, batch: int, cond: Tensor | None) -> States:
        """The encoded sounds ``(B, N)``. An unknown one is silence."""
        silence = torch.zeros(batch, 1, dtype=torch.int16, device=next(self.net.parameters()).device)
        return self.net.encode(silence if cond is None else cond.masked_fill(unknown(cond)[:, None], 0))

    def log_masses(self, x: Tensor, sound: States) -> Tensor:
        """:meth:`forward` given the encoded sound."""
        lengths = ((x != self.end).sum(1) + 1).clamp(max=x.shape[1])
        ids, start = x[:, : -(-int(lengths.max()) // GRID) * GRID], self.net.start(len(x))
        rows = max(LOGITS // (ids.shape[1] * self.net.tokens), 1)
        if len(x) > rows and not torch.is_grad_enabled():
            at = torch.arange(len(x), device=x.device)
            return torch.cat([self.log_masses(x[part], sound.select(part)) for part in torch.split(at, rows)])
        logits = self.net(torch.cat([start, ids[:, :-1]], 1), sound)[:, start.shape[1] - 1 :]
        nats = -F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape)
        nats = nats * (torch.arange(ids.shape[1], device=x.device) < lengths[:, None])
        return F.pad(nats, (0, x.shape[1] - ids.shape[1]))

    def begin(self, batch: int, cond: Tensor | None = None) -> Writing:
        sound = self.encode(batch, cond)
        start = self.net.start(batch)
        return Writing(sound, self.net.cache(sound), start, torch.zeros_like(start[:, 0], dtype=torch.bool))

    def log_probs(self, state: Writing) -> Tensor:
        """``log p`` of the next token of every text, ``(B, V)``. :meth:`take` must follow."""
        log_p = self.net(state.last, state.sound, state.cache)[:, -1].log_softmax(-1)
        end_only = torch.full_like(log_p[:1], -torch.inf)
        end_only[:, self.end] = 0.0
        return torch.where(state.finished_mask[:, None], end_only, log_p)

    def logits(self, state: Writing) -> Tensor:
        return self.log_probs(state)

    def take(self, state: Writing, token: Tensor) -> None:
        """Make ``(B,)`` the next token of every text."""
        state.last, state.finished_mask = token.unsqueeze(1), state.finished_mask | (token == self.end)

    def draw(self, state: Writing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Writing]:
        if state.uniforms is None:
            state.uniforms = Uniforms(noise, 1)
        token = categorical(self.log_probs(state) / temperature, state.uniforms.next()[0])
        self.take(state, token)
        return token, state


@final
class Alignments:
    """Probabilities that the frames of a sound spell partial texts, with independent labels of the frames (CTC).

    A path names one token or the blank for each frame. It spells a text when repetitions, then blanks are left out. For
    a text ``g`` of which ``c`` is the last token, ``n_t`` and ``b_t`` are the masses of all paths of ``t`` frames that
    spell ``g`` and end with ``c``, or with a blank:

        n_t(g c) = y_t(c) (n_{t-1}(g c) + s_{t-1}),   b_t(g) = y_t(blank) (b_{t-1}(g) + n_{t-1}(g))

    where ``s`` is the mass from which ``c`` may follow: ``b(g)`` if ``g`` ends with ``c`` too, and ``b(g) + n(g)``
    otherwise. ``sum_t s_{t-1} y_t(c)`` is the probability of all texts that begin with ``g c``.

    Args:
        names: log-probabilities of the tokens at each frame, ``(T, V)``.
        blank: the id of the blank.

    Reference: Graves 2012, Supervised Sequence Labelling with Recurrent Neural Networks, chapter 7
    (https://doi.org/10.1007/978-3-642-24797-2).
    """

    def __init__(self, names: Tensor, blank: int) -> None:
        self.names, self.blank = names.detach().double().cpu().T, blank
        self.sums = F.pad(self.names.cumsum(1), (1, 0))  # of a token that is the label from the first frame on
        self.last = torch.full((1,), blank)
        self.blank_mass = self.sums[blank : blank + 1]
        self.token_mass = torch.full_like(self.blank_mass, -torch.inf)

    def log_probs(self) -> Tensor:
        """``log`` of the mass of all texts that begin with each text and one more token, ``(B, V)``.

        At the blank it is the mass of the text itself.
        """
        every = torch.logaddexp(self.token_mass, self.blank_mass)
        repeats = F.one_hot(self.last, len(self.names)).bool()[..., None]
        starts = torch.where(repeats, self.blank_mass[:, None], every[:, None])[..., :-1]
        log_p = (starts + self.names).logsumexp(2)
        log_p[:, self.blank] = every[:, -1]
        return log_p

    def take(self, rows: Tensor, token: Tensor) -> None:
        """Go on with some texts ``(B',)``, each with its next token ``(B',)``."""
        token_mass, blank_mass = self.token_mass[rows], self.blank_mass[rows]
        starts = torch.where((self.last[rows] == token)[:, None], blank_mass, torch.logaddexp(token_mass, blank_mass))
        self.token_mass = _path_mass(starts, self.sums[token])
        self.blank_mass = _path_mass(self.token_mass, self.sums[self.blank].expand(len(token), -1))
        self.last = token


def _path_mass(starts: Tensor, sums: Tensor) -> Tensor:
    """``x_t = y_t (x_{t-1} + s_{t-1})`` from ``x_0 = 0``, ``(B, T + 1)``, in logarithms. ``sums`` are of ``y``."""
    return F.pad(sums[:, 1:] + (starts - sums)[:, :-1].logcumsumexp(1), (1, 0), value=-torch.inf)


@final
class JointLikelihood(Objective):
    """``min -(1 - a) log p(text | sound) - a log p_ctc(text | sound)``, over the length of a text, in nats.

    ``p_ctc`` is the probability that frames, each labelled for itself, spell the text when repetitions and blanks are
    left out. Sampling does not need it. A search for the likeliest text can use it (:class:`Alignments`).

    Args:
        width: features of a frame.
        tokens: number of ids, the end included, which stands for the blank.
        alignment: the weight ``a``.

    Raises:
        ValueError: for a weight outside [0, 1).
    """

    learns: ClassVar[type[Estimand]] = Conditionals
    principle = Principle.LIKELIHOOD
    summary = "maximise the log-likelihood of each token given the earlier ones and the sound, and that of an alignment"
    formula = "min_θ −(1 − a) Σ_i log p_θ(x_i | x_<i, sound) − a log p_ctc(x | sound)"

    def __init__(self, width: int, tokens: int, alignment: float = 0.3) -> None:
        super().__init__()
        if not 0 <= alignment < 1:
            raise ValueError(f"alignment must lie in [0, 1), got {alignment}")
        self.alignment = alignment
        self.names = nn.Linear(width, tokens)

    def alignments(self, sound: States, blank: int) -> Alignments:
        """The alignments of the only sound."""
        return Alignments(self.log_names(sound.features[sound.mask]), blank)

    def log_names(self, features: Tensor) -> Tensor:
        """Log-probabilities of the tokens at each frame, float32, whatever the network of the features computes in."""
        return self.names(features.to(self.names.weight)).float().log_softmax(-1)

    def terms(self, estimand: TranscriptConditionals) -> Mapping[str, Term]:
        if not isinstance(estimand, TranscriptConditionals):
            raise TypeError(f"model must be conditioned on a sound for an alignment, got {type(estimand).__name__}")
        return {"likelihood": _JointTerm(estimand, self)}


@final
class _JointTerm(Term):
    """The term of :class:`JointLikelihood`."""

    judges = True

    def __init__(self, estimand: TranscriptConditionals, objective: JointLikelihood) -> None:
        super().__init__([estimand, objective])
        self.estimand, self.objective = estimand, objective

    def forward(self, batch: Batch) -> Tensor:
        sound, share = self.estimand.encode(len(batch.x), batch.cond), self.objective.alignment
        nats = -(1 - share) * self.estimand.log_masses(batch.x, sound).sum(1)
        if share:
            nats = nats + share * self._aligned(batch.x, sound)
        return nats / batch.x.shape[1]

    def _aligned(self, x: Tensor, sound: States) -> Tensor:
        """``-log p_ctc``, ``(B,)``. 0 for a text with more tokens than its sound has frames."""
        names = (
            self.objective.names(sound.features.to(self.objective.names.weight)).float().log_softmax(-1).transpose(0, 1)
        )
        counts, frames = (x != self.estimand.end).sum(1), sound.mask.sum(1)
        return F.ctc_loss(names, x, frames, counts, self.estimand.end, reduction="none", zero_infinity=True)
