"""The words of the field, without torch: paradigms, principles, kinds of likelihood, cost laws, failure modes.

This is the one source for what a paradigm *is*: the cards of fourfold's own models, the report of a comparison and the
atlas all read it. It imports nothing heavy, so the atlas and the command line answer without loading torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

__all__ = ["FACTS", "Card", "Cost", "Facts", "FailureMode", "Kind", "Paradigm", "Principle", "Reference"]


class Paradigm(StrEnum):
    """The four ways of learning to sample, and the two neighbours on the map."""

    AUTOREGRESSIVE = "autoregressive"
    LATENT_VARIABLE = "latent-variable"
    ADVERSARIAL = "adversarial"
    DIFFUSION = "diffusion"
    FLOW = "flow"
    ENERGY = "energy"


class Principle(StrEnum):
    """What a training objective rests on: the first of the two questions, answered in a word.

    Score matching fits the gradient of the log-density. ``DENOISING`` is its most used form, a regression of what noise
    was added to; ``SCORE_MATCHING`` stands for the forms without a target, by integration by parts (explicit, sliced).
    """

    LIKELIHOOD = "likelihood"
    BOUND = "bound"
    ADVERSARIAL = "adversarial"
    DENOISING = "denoising"
    SCORE_MATCHING = "score matching"
    CONTRASTIVE = "contrastive"


class Kind(StrEnum):
    """What a number called "log-likelihood" is; two kinds are never ranked against each other unmarked."""

    EXACT = "exact"
    LOWER_BOUND = "lower_bound"
    ESTIMATE = "estimate"
    UNNORMALISED = "unnormalised"
    NONE = "none"


class Cost(StrEnum):
    """How the network evaluations of one sample grow."""

    CONSTANT = "constant"
    LENGTH = "length"
    STEPS = "steps"
    CHAIN = "chain"


@dataclass(frozen=True)
class Reference:
    """A paper: who, when, what, where."""

    authors: str
    year: int
    title: str
    link: str


@dataclass(frozen=True)
class FailureMode:
    """A way a paradigm goes wrong, and the measurement that reveals it.

    ``monitor`` is the name under which training logs that measurement (the last part of the key in ``log.jsonl``), or
    the empty string where only finished samples reveal it (a comparison then measures it).
    """

    name: str
    meaning: str
    measurement: str
    monitor: str = ""


@dataclass(frozen=True)
class Facts:
    """What holds for a whole paradigm: the two answers, and what follows from them."""

    represents: str
    objective: str
    objective_formula: str
    sampling: str
    sampling_formula: str
    likelihood: Kind
    likelihood_note: str
    cost: Cost
    cost_note: str
    gives: str
    inherits: str
    failure_modes: tuple[FailureMode, ...]
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class Card:
    """What a file in ``paradigms/`` declares to exist: found by the walk, it gets checks, a name, a page and a row.

    ``recipes`` maps a recipe's name to a function ``(space, size) -> GenerativeModel``; the first one is the default.
    A recipe raises ``TypeError`` for a space it does not model. ``likelihood`` is given where it is not its paradigm's,
    ``own`` holds whatever other fields of :class:`Facts` differ, and ``inherits`` names the parts of a hybrid that come from
    elsewhere than its generative step. ``kinds`` names the kind of those recipes that have another than the card,
    ``captioned`` the recipes that model images given a caption; the others are refused such a space by
    :func:`fourfold.paradigms.build`.
    """

    name: str
    paradigm: Paradigm
    recipes: Mapping[str, Callable[[Any, str], Any]] = field(repr=False)
    summary: str = ""
    likelihood: Kind | None = None
    inherits: tuple[str, ...] = ()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    captioned: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def kind_of(self, recipe: str) -> Kind:
        """The kind of likelihood of one recipe's models before dequantisation; the empty name is the default recipe."""
        return self.kinds.get(recipe or next(iter(self.recipes)), self.kind)

    @property
    def kind(self) -> Kind:
        """The kind of likelihood of this card's models before dequantisation."""
        return self.likelihood or FACTS[self.paradigm].likelihood

    @property
    def facts(self) -> Facts:
        """The facts of this card's paradigm, with those that are its own in their place."""
        facts = FACTS[self.paradigm]
        if self.kind is not facts.likelihood:
            facts = replace(facts, likelihood_note=f"not {facts.likelihood}, as others of its paradigm")
        return replace(facts, **{"likelihood": self.kind, **self.own})


FACTS: Mapping[Paradigm, Facts] = {
    Paradigm.AUTOREGRESSIVE: Facts(
        represents="a product of conditionals, one per piece of the example, in a fixed order",
        objective="maximum likelihood of each piece given the earlier ones",
        objective_formula="min_θ −Σ_i log p_θ(x_i | x_<i)",
        sampling="draw the pieces one after the other, each given those already drawn",
        sampling_formula="x_i ~ p_θ(· | x_<i),  i = 1 … L",
        likelihood=Kind.EXACT,
        likelihood_note="the chain rule makes log p(x) a finite sum; it is exact for what is modelled (tokens, pixels, columns)",
        cost=Cost.LENGTH,
        cost_note="one network evaluation per piece; caching keeps each evaluation's work from growing with its square",
        gives="an exact likelihood, stable training, one model for scoring and sampling",
        inherits="sampling one piece at a time, a fixed order, errors that feed back into later pieces",
        failure_modes=(
            FailureMode(
                "drift",
                "each draw conditions the next, so an early error carries a sample away from the data",
                "log-likelihood under the model of its own samples against that of held-out data, by position",
            ),
            FailureMode(
                "repetition",
                "low temperature or a short context makes the sample loop",
                "share of repeated n-grams in samples against data",
            ),
            FailureMode(
                "overfitting",
                "an exact likelihood is easy to overfit on small data",
                "validation minus training log-likelihood",
                "gap",
            ),
        ),
        references=(
            Reference(
                "Bengio, Ducharme, Vincent, Jauvin",
                2003,
                "A Neural Probabilistic Language Model",
                "https://www.jmlr.org/papers/v3/bengio03a.html",
            ),
            Reference(
                "van den Oord, Kalchbrenner, Kavukcuoglu",
                2016,
                "Pixel Recurrent Neural Networks",
                "https://arxiv.org/abs/1601.06759",
            ),
            Reference("Vaswani et al.", 2017, "Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),
        ),
    ),
    Paradigm.LATENT_VARIABLE: Facts(
        represents="a simple prior over latents and a decoder from latents to a distribution over examples",
        objective="maximum of a lower bound on the log-likelihood (or EM, or closed form)",
        objective_formula="max_θ,φ E_q_φ(z|x)[log p_θ(x | z)] − KL(q_φ(z | x) ‖ p(z))",
        sampling="draw a latent from the prior, decode it",
        sampling_formula="z ~ p(z),  x ~ p_θ(· | z)",
        likelihood=Kind.LOWER_BOUND,
        likelihood_note="the evidence lower bound; K importance samples tighten it towards log p(x)",
        cost=Cost.CONSTANT,
        cost_note="one decoder evaluation per sample",
        gives="fast sampling, a code for every example, a bound on the likelihood",
        inherits="blur where the decoder's noise model is wrong, a gap between bound and likelihood, codes the prior never draws",
        failure_modes=(
            FailureMode(
                "posterior collapse",
                "a strong decoder ignores the latent, whose posterior becomes the prior",
                "KL per latent dimension and the number of active units",
                "active_units",
            ),
            FailureMode(
                "prior hole",
                "the aggregate posterior leaves regions of the prior empty, where samples are poor",
                "reconstruction quality against sample quality",
                "kl",
            ),
            FailureMode(
                "blur",
                "an averaged decoder mean loses detail",
                "high-frequency energy of samples against data",
            ),
        ),
        references=(
            Reference("Kingma, Welling", 2014, "Auto-Encoding Variational Bayes", "https://arxiv.org/abs/1312.6114"),
            Reference(
                "Rezende, Mohamed, Wierstra",
                2014,
                "Stochastic Backpropagation and Approximate Inference in Deep Generative Models",
                "https://arxiv.org/abs/1401.4082",
            ),
            Reference(
                "Burda, Grosse, Salakhutdinov",
                2016,
                "Importance Weighted Autoencoders",
                "https://arxiv.org/abs/1509.00519",
            ),
        ),
    ),
    Paradigm.ADVERSARIAL: Facts(
        represents="a map from noise to examples, with no density",
        objective="a game: a critic tells data from samples, the generator moves its samples to where the critic cannot",
        objective_formula="min_G max_D E[f(D(G(z)) − D(x))] − (γ/2)·(R1 + R2)",
        sampling="draw noise, map it once",
        sampling_formula="z ~ N(0, I),  x = G(z)",
        likelihood=Kind.NONE,
        likelihood_note="the generator defines no density; judge it by distances between samples and data instead",
        cost=Cost.CONSTANT,
        cost_note="one generator evaluation per sample",
        gives="sharp samples in one network evaluation",
        inherits="no likelihood, a game that may not converge, modes that may be missing without any loss showing it",
        failure_modes=(
            FailureMode(
                "mode collapse",
                "the generator covers few modes of the data",
                "recall and coverage of samples; spread of a batch of samples against that of data",
                "diversity",
            ),
            FailureMode(
                "saturated critic",
                "the critic separates perfectly and its gradient says nothing",
                "share of pairs the critic ranks rightly; it should stay well below one",
                "critic_accuracy",
            ),
            FailureMode(
                "oscillation",
                "generator and critic circle without approaching equilibrium",
                "the gradient penalties and the critic's margin over time",
                "critic_margin",
            ),
        ),
        references=(
            Reference("Goodfellow et al.", 2014, "Generative Adversarial Networks", "https://arxiv.org/abs/1406.2661"),
            Reference(
                "Mescheder, Geiger, Nowozin",
                2018,
                "Which Training Methods for GANs do actually Converge?",
                "https://arxiv.org/abs/1801.04406",
            ),
            Reference(
                "Huang, Gokaslan, Kuleshov, Tompkin",
                2024,
                "The GAN is dead; long live the GAN! A Modern GAN Baseline",
                "https://arxiv.org/abs/2501.05441",
            ),
        ),
    ),
    Paradigm.DIFFUSION: Facts(
        represents="the score of the data at every noise level (equally: the denoiser, the noise, the velocity)",
        objective="regression of the clean example, the noise or the velocity from a noised example",
        objective_formula="min_θ E_t,x0,ε  w(t)·‖D_θ(α_t x0 + σ_t ε, t) − x0‖²",
        sampling="start from noise and integrate an ODE or SDE towards the data",
        sampling_formula="x_T ~ N(0, σ_T² I),  dx = v_θ(x, t) dt  from T to 0",
        likelihood=Kind.ESTIMATE,
        likelihood_note="the probability-flow ODE gives an estimate (trace probes, solver error); the variational view gives a lower bound",
        cost=Cost.STEPS,
        cost_note="one network evaluation per solver step and stage; independent of the size of the example",
        gives="the best sample quality per parameter, stable regression training, guidance at sampling time",
        inherits="many evaluations per sample, a likelihood only by ODE estimate or bound, residual noise when steps are few",
        failure_modes=(
            FailureMode(
                "discretisation error",
                "too few solver steps leave blur or residual noise",
                "quality against number of steps",
            ),
            FailureMode(
                "memorisation",
                "long training on small data returns training examples",
                "nearest training against nearest held-out distance",
                "gap",
            ),
            FailureMode(
                "uneven noise levels",
                "some noise levels are learned late and spoil the whole trajectory",
                "the loss by noise level",
                "loss_high_noise",
            ),
        ),
        references=(
            Reference(
                "Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli",
                2015,
                "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
                "https://arxiv.org/abs/1503.03585",
            ),
            Reference(
                "Ho, Jain, Abbeel", 2020, "Denoising Diffusion Probabilistic Models", "https://arxiv.org/abs/2006.11239"
            ),
            Reference(
                "Song et al.",
                2021,
                "Score-Based Generative Modeling through Stochastic Differential Equations",
                "https://arxiv.org/abs/2011.13456",
            ),
            Reference(
                "Karras, Aittala, Aila, Laine",
                2022,
                "Elucidating the Design Space of Diffusion-Based Generative Models",
                "https://arxiv.org/abs/2206.00364",
            ),
            Reference(
                "Lipman, Chen, Ben-Hamu, Nickel, Le",
                2023,
                "Flow Matching for Generative Modeling",
                "https://arxiv.org/abs/2210.02747",
            ),
        ),
    ),
    Paradigm.FLOW: Facts(
        represents="an invertible map between noise and data",
        objective="maximum likelihood by the change of variables",
        objective_formula="min_θ −log p_z(f_θ(x)) − log |det ∂f_θ/∂x|",
        sampling="draw noise, apply the inverse map once",
        sampling_formula="z ~ N(0, I),  x = f_θ⁻¹(z)",
        likelihood=Kind.EXACT,
        likelihood_note="exact for reals; on dequantised integers a lower bound",
        cost=Cost.CONSTANT,
        cost_note="one pass for coupling layers; one per dimension where the map is autoregressive; solver steps where it is continuous",
        gives="an exact density and exact codes",
        inherits="an architecture bound to invertibility, mass spread between separated modes, high likelihood for some foreign inputs",
        failure_modes=(
            FailureMode(
                "bridges",
                "a continuous map cannot separate modes, so mass leaks between them",
                "density between known modes",
            ),
            FailureMode(
                "numerical inverse",
                "the inverse drifts from the forward map",
                "reconstruction error of x through f and f⁻¹",
                "inverse_error",
            ),
        ),
        references=(
            Reference(
                "Dinh, Sohl-Dickstein, Bengio",
                2017,
                "Density estimation using Real NVP",
                "https://arxiv.org/abs/1605.08803",
            ),
            Reference(
                "Papamakarios et al.",
                2021,
                "Normalizing Flows for Probabilistic Modeling and Inference",
                "https://arxiv.org/abs/1912.02762",
            ),
        ),
    ),
    Paradigm.ENERGY: Facts(
        represents="an unnormalised log-density",
        objective="contrast of data with samples of the model (or with noise)",
        objective_formula="∇_θ = E_data[∇E_θ(x)] − E_model[∇E_θ(x)]",
        sampling="a Markov chain that follows the energy's gradient plus noise",
        sampling_formula="x ← x − η ∇E_θ(x) + √(2η) ε",
        likelihood=Kind.UNNORMALISED,
        likelihood_note="the normaliser is unknown; annealed importance sampling brackets it",
        cost=Cost.CHAIN,
        cost_note="one evaluation per step of a chain whose needed length is not known beforehand",
        gives="a free choice of network, energies that add up, a score for any input",
        inherits="slow chains, an unknown normaliser, training that can diverge",
        failure_modes=(
            FailureMode(
                "exploding energies",
                "the contrast grows without bound",
                "energy gap between data and samples",
                "energy_gap",
            ),
            FailureMode(
                "chains that do not mix",
                "samples stay near where chains started",
                "R-hat and effective sample size",
                "rhat",
            ),
        ),
        references=(
            Reference(
                "LeCun, Chopra, Hadsell, Ranzato, Huang",
                2006,
                "A Tutorial on Energy-Based Learning",
                "http://yann.lecun.com/exdb/publis/pdf/lecun-06.pdf",
            ),
            Reference(
                "Hinton",
                2002,
                "Training Products of Experts by Minimizing Contrastive Divergence",
                "https://www.cs.toronto.edu/~hinton/absps/nccd.pdf",
            ),
        ),
    ),
}
