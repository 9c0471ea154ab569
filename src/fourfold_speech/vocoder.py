"""Adversarial vocoders: waveforms from power in mel bands, by a GAN with critics of periods and of spectra.

    critic     mean_k E[ a(D_k(x), D_k(x^)) ]
    generator  mean_k E[ b(D_k(x), D_k(x^)) ] + mel · ||log mel(x^) - log mel(x)||_1 / dims
               + spectrum · d(c(x^), c(x)) + feature · d(f(x^), f(x)),   x^ = g(mel(x))
    distance   d(f, w) = mean_l ||f_l - w_l||_1 / E ||w_l||_1

Kong, Kim, Bae 2020, HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis
(https://arxiv.org/abs/2010.05646); Siuzdak 2023, Vocos: Closing the Gap between Time-domain and Fourier-based Neural
Vocoders for High-quality Audio Synthesis (https://arxiv.org/abs/2306.00814). The spectra ``c_l`` have three resolutions
(Yamamoto, Song, Kim 2020, https://arxiv.org/abs/1910.11480). The features ``f_l`` are the critics' own (Larsen et al.
2016, https://arxiv.org/abs/1512.09300), and their distances are relative (Defossez, Copet, Synnaeve, Adi 2022,
https://arxiv.org/abs/2210.13438).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Batch, Estimand, Objective, Term
from fourfold.estimands import Pushforward
from fourfold.paradigms.adversarial import Contest, Hinge
from fourfold.vocabulary import Principle
from fourfold_speech.spectra import frames, hop_of, log_mel, stft
from fourfold_speech.waves import CENTRE, SPREAD, compressed

__all__ = ["Vocoder", "Vocoding"]


@final
class Vocoder(Pushforward):
    """``x = g(z)`` for standardised power in mel bands ``z``, ``(B, bands, T)``, and waveforms ``(B, 1, L)``.

    ``z = (log mel(x) + 12) / 5``. On its own it draws ``z ~ N(0, I)``: noise as loud as speech. Its use is behind a
    model that draws the bands.

    Args:
        net: maps ``z`` to waveforms ``(B, 1, T hop)``.
        length: samples of a clip.
        bands: number of mel bands.
        rate: samples in a second.
    """

    summary = "a map from power in mel bands to a waveform, without a density"

    def __init__(self, net: nn.Module, length: int, bands: int, rate: int) -> None:
        super().__init__()
        self.net, self.length, self.bands, self.rate, self.hop = net, length, bands, rate, hop_of(rate)
        self.event, self.latent = (1, length), (bands, frames(length, self.hop))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        x: Tensor = self.net(z)
        return x[..., : self.length]

    def analyse(self, x: Tensor) -> Tensor:
        """``z`` of waveforms ``(B, 1, L)`` of any length."""
        return self.standard(log_mel(x[:, 0].float(), self.bands, 4 * self.hop, self.hop, self.rate))

    def standard(self, log_power: Tensor) -> Tensor:
        """``z`` of the logarithm of the power in mel bands, in nats."""
        return (log_power - CENTRE) / SPREAD


@final
class Vocoding(Objective):
    """The GAN of a vocoder, on segments of the clips. The module's docstring has the formulas.

    Args:
        critic: maps waveforms ``(B, 1, L)`` to numbers ``(B, *)`` and features ``(B, *)`` of each of several critics,
            as :class:`~fourfold_speech.waves.WaveCritic` does.
        contest: the losses ``a`` and ``b``, which see examples and samples apart.
        mel: weight of the distance in mel bands.
        spectrum: weight of the distance of compressed spectra.
        feature: weight of the distance of features.
        frames: frames of a segment. A shorter clip is one segment.

    Raises:
        ValueError: for a contest whose generator compares each sample with an example.
    """

    learns: ClassVar[type[Estimand]] = Vocoder
    principle = Principle.ADVERSARIAL

    @property
    def summary(self) -> str:
        return "resynthesise clips from mel bands, so that bands and features agree and critics take them for data"

    @property
    def formula(self) -> str:
        mel = f"{self.mel:g}·‖log mel(x̂) − log mel(x)‖₁"
        distances = f"{self.spectrum:g}·d(c(x̂), c(x)) + {self.feature:g}·d(f(x̂), f(x))"
        return f"{self.contest.formula};  G also: min {mel} + {distances},  x̂ = G(mel(x))"

    def __init__(
        self,
        critic: nn.Module,
        contest: Contest | None = None,
        mel: float = 10.0,
        spectrum: float = 10.0,
        feature: float = 3.0,
        frames: int = 32,
    ) -> None:
        super().__init__()
        self.critic, self.contest = critic, Hinge() if contest is None else contest
        self.mel, self.spectrum, self.feature, self.frames = mel, spectrum, feature, frames
        if self.contest.paired:
            raise ValueError(
                f"contest must rate each example alone, got {type(self.contest).__name__}: give one such as Hinge()"
            )

    def terms(self, estimand: Vocoder) -> Mapping[str, Term]:
        return {"critic": VocoderCriticTerm(estimand, self), "generator": VocoderTerm(estimand, self)}

    def segment(self, x: Tensor, hop: int) -> Tensor:
        """Cut a segment of whole frames of each clip ``(B, 1, L)``, at a random place."""
        count = frames(x.shape[2], hop)
        whole, length = F.pad(x, (0, count * hop - x.shape[2])), min(self.frames, count)
        first = torch.randint(count - length + 1, (len(x), 1), device=x.device)
        place = hop * first + torch.arange(length * hop, device=x.device)
        return whole.gather(2, place[:, None])


@final
class VocoderCriticTerm(Term):
    """The critics' loss. It watches ``critic_accuracy``, the share of numbers in which data exceed samples."""

    def __init__(self, vocoder: Vocoder, objective: Vocoding) -> None:
        super().__init__([objective.critic])
        self.vocoder, self.objective = vocoder, objective

    def forward(self, batch: Batch) -> Tensor:
        game, n = self.objective, len(batch.x)
        x = game.segment(batch.x, self.vocoder.hop)
        with torch.no_grad():
            fake = self.vocoder.net(self.vocoder.analyse(x))
        pairs = [numbers.flatten(1).split(n) for numbers, _ in game.critic(torch.cat([x, fake]))]
        right = torch.stack([(real > false).detach().float().mean() for real, false in pairs])
        self.watched = {"critic_accuracy": right.mean()}
        return torch.stack([game.contest.critic(real, false).mean(1) for real, false in pairs]).mean(0)


@final
class VocoderTerm(Term):
    """The generator's loss. It watches the distances ``mel`` (in nats of power), ``spectrum`` and ``feature``."""

    def __init__(self, vocoder: Vocoder, objective: Vocoding) -> None:
        super().__init__([vocoder])
        self.vocoder, self.objective = vocoder, objective

    def forward(self, batch: Batch) -> Tensor:
        game = self.objective
        x = game.segment(batch.x, self.vocoder.hop)
        z = self.vocoder.analyse(x)
        fake = self.vocoder.net(z)
        hops = [max(self.vocoder.hop // k, 1) for k in (1, 2, 4)]
        spectrum = _relative(*([compressed(stft(wave[:, 0].float(), 4 * h, h)) for h in hops] for wave in (fake, x)))
        mel = SPREAD * (self.vocoder.analyse(fake) - z).abs().flatten(1).mean(1)
        with torch.no_grad():
            targets = [features for _, features in game.critic(x)]
        judged = game.critic(fake)
        feature = _relative([f for _, features in judged for f in features], [f for some in targets for f in some])
        numbers = [score.flatten(1) for score, _ in judged]
        fooled = torch.stack([game.contest.generator(score[:0, 0], score).mean(1) for score in numbers]).mean(0)
        distances = {"mel": mel, "spectrum": spectrum, "feature": feature}
        self.watched = {name: distance.detach().mean() for name, distance in distances.items()}
        return fooled + game.mel * mel + game.spectrum * spectrum + game.feature * feature


def _relative(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """``mean_l ||f_l - w_l||_1 / E ||w_l||_1``, ``(B,)``."""
    distances = [
        (f - w).float().abs().flatten(1).mean(1) / w.float().abs().mean().clamp(min=1e-6)
        for f, w in zip(features, targets, strict=True)
    ]
    return torch.stack(distances).mean(0)
