"""Hybrids: a paradigm behind a learned codec, or after a teacher of another paradigm.

    log p(x) >= E_q(z|x)[ log p(z) + log p(x | z) - log q(z | x) ]

A codec is trained first and then stays as it is; whatever models its codes gives ``log p(z)``, and what encoder and decoder
add stands where another codec has its log-determinant. So a hybrid is sampled, scored, saved and resumed as any other model
is, without a line of its own: this file only puts parts together.

=======================  ==========================================  =============================
name                     generative step                             what comes from elsewhere
=======================  ==========================================  =============================
``latent-diffusion``     diffusion of the codes                      an autoencoder of maps
``latent-autoregressive``  a transformer of the codes, one by one    a tokenizer (FSQ or VQ)
``latent-flow``          a normalizing flow of the codes             an autoencoder of vectors
``adversarial-student``  one pass of a generator                     a diffusion teacher
=======================  ==========================================  =============================
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.codecs import LearnedCodec, QuantisedCodec
from fourfold.core import (
    Batch,
    Codec,
    Estimand,
    GenerativeModel,
    Objective,
    Space,
    Stage,
    Staged,
    Term,
    Training,
    forgetful,
)
from fourfold.estimands import Pushforward
from fourfold.likelihoods import NoDensity
from fourfold.likelihoods.ode import ProbabilityFlow
from fourfold.nn.dit import DiT
from fourfold.nn.resnet import ResMLP, ResNetCritic
from fourfold.nn.text_encoder import text_encoder
from fourfold.nn.transformer import TokenTransformer
from fourfold.nn.unet import UNet
from fourfold.paradigms import flow
from fourfold.paradigms.adversarial import NO_DENSITY, AdversarialGame, CriticTerm, OnePass, ZeroCentred
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood, TokenConditionals
from fourfold.paradigms.diffusion import Denoising, Preconditioned, denoising
from fourfold.paradigms.latent import CodeDecoder, QuantisedDecoder, convolutional, fsq, kl_autoencoder, vq
from fourfold.paths import EDM, broadcast, time_at
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Images, Vectors
from fourfold.vocabulary import Card, Paper, Paradigm, Principle

__all__ = ["CARDS", "DistilledGame", "Student", "behind"]


def behind(codec: Codec, step: GenerativeModel, space: Space) -> GenerativeModel:
    """The model of ``space`` whose codes are modelled as ``step`` models its examples.

    Args:
        codec: from raw examples to what ``step`` would call encoded ones.
        step: whose estimand, objective, sampler, likelihood and training are taken; its own codec is left out.
        space: of the raw examples.

    Raises:
        TypeError: if the parts do not fit.
    """
    parts = (step.estimand, step.objective, step.sampler, step.likelihood, step.training_defaults)
    return GenerativeModel(space, codec, *parts)


def _bare(space: Space) -> Any:
    """The space without labels and captions: what a codec is trained on."""
    if isinstance(space, Images):
        return replace(space, classes=None, class_names=(), caption=None)
    if isinstance(space, Vectors):
        return replace(space, classes=None, class_names=())
    raise TypeError(f"hybrids model images or vectors, not {type(space).__name__}")


def _images(space: Space, name: str) -> Images:
    """The space, if it is of images.

    Raises:
        TypeError: for another one.
    """
    if not isinstance(space, Images):
        raise TypeError(f"{name} is of images, not of {type(space).__name__}: use latent-flow for vectors")
    return space


# --- latent diffusion -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Diffusion:
    """Networks of the codes: U-Net and transformer, solver steps of the likelihood, training."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    transformer: tuple[int, int, int]
    solver_steps: int
    training: Training


_DIFFUSION: Mapping[str, _Diffusion] = {
    "xs": _Diffusion((32, 32), (1, 1), (32, 1, 2), 6, Training(128, 2e-3, muon_rate=0.02)),
    "s": _Diffusion((128, 192), (2, 3), (256, 8, 4), 24, Training(128, 2e-3, muon_rate=0.03)),
    "m": _Diffusion((192, 256, 320), (2, 3, 3), (384, 12, 6), 24, Training(128, 2e-3, muon_rate=0.02)),
}


def latent_diffusion(space: Space, size: str, transformer: bool = False) -> GenerativeModel:
    """Diffusion of the codes of a KL autoencoder (Rombach et al. 2022, https://arxiv.org/abs/2112.10752).

    Raises:
        TypeError: for a space other than images.
    """
    images, preset = _images(space, "latent diffusion"), _DIFFUSION[size]
    autoencoder = kl_autoencoder(_bare(images), size)
    # of equal seconds on 64-pixel images, twice the steps of half the batch gave reconstructions nearer to the data
    autoencoder.training_defaults = replace(autoencoder.training_defaults, batch_size=32)
    codec = LearnedCodec(autoencoder)
    channels, height, width = codec.event
    text = text_encoder(images.caption)
    if transformer:
        patch = 1 if max(height, width) <= 8 else 2
        net: Any = DiT((channels, height, width), *preset.transformer, patch, images.classes, 1, text)
    else:
        deep = min(len(preset.widths), max(1, min(height, width).bit_length() - 2))
        widths, blocks = preset.widths[:deep], preset.blocks[:deep]
        net = UNet(channels, widths, blocks, 1, images.classes, 2 * preset.widths[0], 1, text)
    estimand = Preconditioned(net, codec.event, EDM(), 1.0)
    objective, likelihood = Denoising(mean=-0.4, std=1.2, sigma_data=1.0), ProbabilityFlow(preset.solver_steps, 2)
    return GenerativeModel(images, codec, estimand, objective, DPMSolver(), likelihood, preset.training)


# --- codes as tokens --------------------------------------------------------------------------------------------------

_TRANSFORMER: Mapping[str, tuple[int, int, int]] = {"xs": (32, 1, 1), "s": (256, 6, 4), "m": (384, 8, 6)}
"""Width, depth and heads of the transformer of the codes."""


def latent_autoregressive(
    space: Space, size: str, tokenizer: Callable[[Space, str], GenerativeModel] = fsq
) -> GenerativeModel:
    """A causal transformer of an image's codes in raster order; a label is the start symbol.

    van den Oord, Vinyals, Kavukcuoglu 2017 (https://arxiv.org/abs/1711.00937); Esser, Rombach, Ommer 2021
    (https://arxiv.org/abs/2012.09841).

    Raises:
        TypeError: for a space other than images.
    """
    images = _images(space, "an autoregressive model of codes")
    autoencoder = tokenizer(_bare(images), size)
    decoder = autoencoder.estimand
    assert isinstance(decoder, QuantisedDecoder)
    height, width = decoder.latent
    codec, length = QuantisedCodec(autoencoder, (height, width)), height * width
    net = TokenTransformer(decoder.size, length, *_TRANSFORMER[size], starts=1 + (images.classes or 0))
    estimand, training = TokenConditionals(net, length), Training(batch_size=32, learning_rate=3e-3, muon_rate=2e-2)
    return GenerativeModel(images, codec, estimand, MaximumLikelihood(), Ancestral(), ChainRule(), training)


# --- a flow of the codes ----------------------------------------------------------------------------------------------


def latent_flow(space: Space, size: str) -> GenerativeModel:
    """A variational autoencoder whose prior is a coupling flow, trained when the codes are (Chen et al. 2017).

    Paper: Chen et al. 2017, Variational Lossy Autoencoder (https://arxiv.org/abs/1611.02731), where both are trained
    together.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    bare = _bare(space)
    learned = convolutional(bare, size)
    decoder = learned.estimand
    assert isinstance(decoder, CodeDecoder)
    plain = CodeDecoder(decoder.net, decoder.head, decoder.event, decoder.codes)
    parts = (learned.objective, learned.sampler, learned.likelihood, learned.training_defaults)
    codec = LearnedCodec(GenerativeModel(bare, learned.codec, plain, *parts))
    return behind(codec, flow.coupling(Vectors(codec.event[0], classes=space.classes), size), space)


# --- a student of diffusion -------------------------------------------------------------------------------------------


@final
class Student(Pushforward):
    """``x = D(sigma z, t)`` at the one time ``t`` whose noise is ``sigma``: a denoiser used as a generator.

    At a moderate ``sigma`` a teacher's weights are a good start: its denoised noise is blurred, but varied (Zhou et al. 2024,
    https://arxiv.org/abs/2404.04057).

    Args:
        denoiser: a network as the teacher's.
        sigma: the noise, in terms of the data's own scale.
    """

    summary = "a map from noise to examples, without a density: the network of a denoiser, used once"

    def __init__(self, denoiser: Preconditioned, sigma: float = 5.0) -> None:
        super().__init__()
        self.denoiser, self.sigma = denoiser, sigma * denoiser.sigma_data
        self.event = self.latent = denoiser.event
        path = denoiser.path
        t = time_at(path, torch.tensor(-math.log(self.sigma), dtype=torch.float64, device="cpu"))
        self.t, self.level = float(t), float(path.sigma(t))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.denoiser(self.level * z, torch.full((len(z),), self.t, device=z.device), cond)


@final
class DistilledGame(Objective, Staged):
    """A game of generator and critic, in which a diffusion teacher corrects every sample.

        generator  b(D(x), D(G(z))) + weight · w(t) ||G(z) - sg(D_teacher(alpha_t G(z) + sigma_t eps, t))||^2 / dims

    The teacher's denoiser moves a noised sample to where the data is likely; the critic sees what is left. With ``s = sigma_t
    / alpha_t``: ``w = 1 / (s^2 + sigma_data^2)`` and ``log s ~ N(mean, std^2)``.

    Paper: Sauer, Lorenz, Blattmann, Rombach 2023, Adversarial Diffusion Distillation
    (https://arxiv.org/abs/2311.17042).

    Args:
        teacher: a diffusion model of the same space, with the same codec, trained first.
        game: critic, contest and penalty.
        weight: of the teacher's correction.
        mean, std: of the logarithm of the noise at which the teacher is asked.
        share: of the budget that the teacher is trained for.
    """

    learns: ClassVar[type[Estimand]] = Pushforward
    principle = Principle.ADVERSARIAL

    @property
    def summary(self) -> str:
        return f"{self.game.summary}; a diffusion teacher corrects every sample as well"

    @property
    def formula(self) -> str:
        weight = "" if self.weight == 1 else f"{self.weight:g}·"
        return f"{self.game.formula};  G also: min {weight}w(t)·‖G(z) − sg(D_teacher(α_t G(z) + σ_t ε, t))‖²"

    def __init__(
        self,
        teacher: GenerativeModel,
        game: AdversarialGame,
        weight: float = 1.0,
        mean: float = -0.5,
        std: float = 1.0,
        share: float = 0.5,
    ) -> None:
        super().__init__()
        self.teacher, self.game, self.weight, self.share = teacher, game, weight, share
        self.mean, self.std = mean, std

    def stages(self) -> Sequence[Stage]:
        return [Stage("teacher", self.teacher, self.share)]

    def ready(self, estimand: Estimand) -> None:
        """Start the student with the teacher's weights, where it has the teacher's network."""
        if isinstance(estimand, Student):
            estimand.denoiser.load_state_dict(self.teacher.estimand.state_dict())

    def terms(self, estimand: Pushforward) -> Mapping[str, Term]:
        return {"critic": CriticTerm(estimand, self.game), "generator": StudentTerm(estimand, self)}


@final
class StudentTerm(Term):
    """The generator's side of :class:`DistilledGame`; watches ``diversity`` as its critic-only sister does, and ``correction``."""

    def __init__(self, generator: Pushforward, objective: DistilledGame) -> None:
        super().__init__([generator])
        teacher = objective.teacher.estimand
        assert isinstance(teacher, Preconditioned)
        # In a list: what the teacher and the critic hold is no part of what this term trains.
        self.generator, self._held = generator, [(objective, teacher)]

    def forward(self, batch: Batch) -> Tensor:
        ((objective, teacher),) = self._held
        game, cond = objective.game, forgetful(batch.cond, objective.game.label_dropout if self.training else 0.0)
        fake = self.generator(torch.randn(len(batch.x), *self.generator.latent, device=batch.x.device), cond)
        correction = self._correction(fake, cond, objective, teacher)
        spread = [x.detach().var(0, correction=0).sum() for x in (fake, batch.x)]
        self.watched = {
            "diversity": (spread[0] / spread[1].clamp(min=1e-12)).sqrt(),
            "correction": correction.detach().mean(),
        }
        loss = game.contest.generator(*game.numbers(game.seen(batch.x), game.seen(fake), cond))
        return loss + objective.weight * correction

    def _correction(
        self, fake: Tensor, cond: Tensor | None, objective: DistilledGame, teacher: Preconditioned
    ) -> Tensor:
        """``w(t) ||x - sg(D(x_t, t))||^2 / dims``, ``(B,)``."""
        log_s = objective.mean + objective.std * torch.randn(len(fake), device=fake.device)
        with torch.no_grad():
            t = time_at(teacher.path, -log_s).float()
            target = teacher(teacher.path.noised(fake, torch.randn_like(fake), t), t, cond)
        weight = 1 / ((2 * log_s).exp() + teacher.sigma_data**2)
        return (broadcast(weight, fake) * (fake - target).square()).flatten(1).mean(1)


@dataclass(frozen=True)
class _Lessons:
    """What a student's training depends on: the teacher's weight and share of the budget, the student's noise, rates."""

    weight: float
    share: float
    sigma: float
    training: Training


_IMAGES = _Lessons(1.0, 0.5, 5.0, Training(64, 3e-4, warmup=0.05, betas=(0.0, 0.99), ema=0.1, clip=0.0))
_VECTORS = _Lessons(0.1, 0.3, 1.5, Training(256, 1e-3, warmup=0.05, betas=(0.0, 0.99), ema=0.05, clip=0.0))
"""Of vectors a teacher is soon good, and its correction, which pulls samples to where data is densest, soon in the way."""

_CRITIC: Mapping[str, tuple[int, int]] = {"xs": (16, 1), "s": (48, 1), "m": (64, 2)}
"""Width and blocks of the critic."""


def adversarial_student(space: Space, size: str) -> GenerativeModel:
    """A generator of one pass, taught by a diffusion model and a critic.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    _bare(space)
    teacher, own = denoising(space, size), denoising(space, size)
    assert isinstance(own.estimand, Preconditioned)
    width, blocks = _CRITIC[size]
    critic: nn.Module
    if isinstance(space, Images):
        shape = (space.channels, space.height, space.width)
        critic, every = ResNetCritic(shape, width, blocks, 256, space.classes), 4
    else:
        critic, every = ResMLP(space.dims, 1, 2 * width, 2 * blocks, space.classes), 1
    chosen = _IMAGES if isinstance(space, Images) else _VECTORS
    game = AdversarialGame(critic, penalty=ZeroCentred(0.1), every=every)
    objective = DistilledGame(teacher, game, chosen.weight, share=chosen.share)
    student = Student(own.estimand, chosen.sigma)
    return GenerativeModel(space, own.codec, student, objective, OnePass(), NoDensity(NO_DENSITY), chosen.training)


_DIFFUSED_CODES = (
    Paper(
        "Vahdat, Kreis, Kautz",
        2021,
        "Score-based Generative Modeling in Latent Space",
        "https://arxiv.org/abs/2106.05931",
    ),
    Paper(
        "Rombach, Blattmann, Lorenz, Esser, Ommer",
        2022,
        "High-Resolution Image Synthesis with Latent Diffusion Models",
        "https://arxiv.org/abs/2112.10752",
    ),
)
_PREDICTED_CODES = (
    Paper(
        "van den Oord, Vinyals, Kavukcuoglu",
        2017,
        "Neural Discrete Representation Learning",
        "https://arxiv.org/abs/1711.00937",
    ),
    Paper(
        "Esser, Rombach, Ommer",
        2021,
        "Taming Transformers for High-Resolution Image Synthesis",
        "https://arxiv.org/abs/2012.09841",
    ),
    Paper(
        "Mentzer, Minnen, Agustsson, Tschannen",
        2024,
        "Finite Scalar Quantization: VQ-VAE Made Simple",
        "https://arxiv.org/abs/2309.15505",
    ),
)
_FLOWED_CODES = (
    Paper("Chen et al.", 2017, "Variational Lossy Autoencoder", "https://arxiv.org/abs/1611.02731"),
    Paper(
        "Papamakarios et al.",
        2021,
        "Normalizing Flows for Probabilistic Modeling and Inference",
        "https://arxiv.org/abs/1912.02762",
    ),
)
_STUDENTS = (
    Paper(
        "Sauer, Lorenz, Blattmann, Rombach",
        2023,
        "Adversarial Diffusion Distillation",
        "https://arxiv.org/abs/2311.17042",
    ),
    Paper(
        "Yin et al.",
        2024,
        "Improved Distribution Matching Distillation for Fast Image Synthesis",
        "https://arxiv.org/abs/2405.14867",
    ),
)

CARDS = (
    Card(
        name="latent-diffusion",
        paradigm=Paradigm.DIFFUSION,
        recipes={"unet": latent_diffusion, "dit": functools.partial(latent_diffusion, transformer=True)},
        summary="Diffusion of the codes of an autoencoder that is trained first.",
        captioned=("unet", "dit"),
        strengths="diffusion at the cost of the code's size, guidance at sampling time",
        weaknesses="a loose likelihood",
        references=_DIFFUSED_CODES,
    ),
    Card(
        name="latent-autoregressive",
        paradigm=Paradigm.AUTOREGRESSIVE,
        recipes={"fsq": latent_autoregressive, "vq": functools.partial(latent_autoregressive, tokenizer=vq)},
        summary="A causal transformer of the codes of a tokenizer that is trained first.",
        strengths="one sequence model for any data that can be tokenised, sequences far shorter than the data",
        weaknesses="a fixed order, errors that feed back into later codes",
        references=_PREDICTED_CODES,
    ),
    Card(
        name="latent-flow",
        paradigm=Paradigm.FLOW,
        recipes={"coupling": latent_flow},
        summary="A normalizing flow of the codes of a variational autoencoder that is trained first.",
        strengths="a code for every example, a prior without the holes of a fixed one",
        weaknesses="blur where the decoder's noise model is wrong",
        references=_FLOWED_CODES,
    ),
    Card(
        name="adversarial-student",
        paradigm=Paradigm.ADVERSARIAL,
        recipes={"distilled": adversarial_student},
        summary="A generator taught by a critic and by a diffusion model that is trained first.",
        strengths="one-pass samples that start from what diffusion has learned",
        weaknesses="a game that may not converge",
        references=_STUDENTS,
    ),
)
