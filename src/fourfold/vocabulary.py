"""The words of the field, without torch: paradigms, principles, kinds of likelihood, cost laws, failure modes.

:data:`FACTS` has the facts that are common to a paradigm. The parts of a recipe's models state their own: see
:attr:`fourfold.core.GenerativeModel.facts`. This module imports nothing heavy, so the atlas and the command line answer
without loading torch.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

__all__ = [
    "AUTO",
    "COSTS",
    "FACTS",
    "VARIANTS",
    "Card",
    "Cost",
    "Facts",
    "FailureMode",
    "Kind",
    "Paper",
    "Paradigm",
    "Principle",
    "Recipe",
    "Variant",
    "parse_size",
]


AUTO = "auto"
"""The size that suits the machine, the data and the budget."""
_SIZE = re.compile(r"(xs|s|m)(?:/(2|4|8))?")


def parse_size(text: str) -> tuple[str, int]:
    """The preset that a size names, and the divisor of its widths: ``s/2`` is ``s`` at half the width.

    Raises:
        ValueError: for another text.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"unknown size {text!r}: choose xs, s, m, or a narrower one such as s/2, s/4 or m/2")
    return found[1], int(found[2] or 1)


class Paradigm(StrEnum):
    """The four ways of learning to sample, and the two neighbours on the map."""

    AUTOREGRESSIVE = "autoregressive"
    LATENT_VARIABLE = "latent-variable"
    ADVERSARIAL = "adversarial"
    DIFFUSION = "diffusion"
    FLOW = "flow"
    ENERGY = "energy"


class Principle(StrEnum):
    """The principle of a training objective: the answer to the first of the two questions, in a word.

    Score matching fits the gradient of the log-density. ``DENOISING`` is its most common form, a regression of the
    clean example or the noise; ``SCORE_MATCHING`` means the forms without a target, by partial integration (explicit,
    sliced).
    """

    LIKELIHOOD = "likelihood"
    BOUND = "bound"
    ADVERSARIAL = "adversarial"
    DENOISING = "denoising"
    SCORE_MATCHING = "score matching"
    CONTRASTIVE = "contrastive"


class Kind(StrEnum):
    """The kind of a number called "log-likelihood"; different kinds are never ranked against each other without a mark.

    ``ESTIMATED_BOUND`` estimates a lower bound: a solver or probes stand behind a codec that only bounds the likelihood
    of raw examples (dequantised integers, a learned code), so that it has the error of an estimate and the gap of a
    bound.
    """

    EXACT = "exact"
    LOWER_BOUND = "lower_bound"
    ESTIMATE = "estimate"
    ESTIMATED_BOUND = "estimated_bound"
    UNNORMALISED = "unnormalised"
    NONE = "none"

    @property
    def bounded(self) -> Kind:
        """The kind for raw examples, if this is the kind for codes that only bound their likelihood."""
        return {Kind.EXACT: Kind.LOWER_BOUND, Kind.ESTIMATE: Kind.ESTIMATED_BOUND}.get(self, self)

    @property
    def words(self) -> str:
        """The kind in words: ``lower bound``."""
        return self.value.replace("_", " ")


class Cost(StrEnum):
    """The law by which the network evaluations of one sample grow."""

    CONSTANT = "constant"
    LENGTH = "length"
    STEPS = "steps"
    CHAIN = "chain"


@dataclass(frozen=True)
class Paper:
    """A paper: authors, year, title, address."""

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
    """Facts of a paradigm, or of one recipe of it: the two answers, and their consequences.

    The clauses are plain English without a full stop. ``strengths`` and ``weaknesses`` are what :attr:`gives` and
    :attr:`drawbacks` say beyond what the kind of likelihood, the cost and the inherited ``parts`` imply.
    """

    represents: str
    objective: str
    objective_formula: str
    sampling: str
    sampling_formula: str
    likelihood: Kind
    likelihood_note: str
    cost: Cost
    cost_note: str
    strengths: str
    weaknesses: str
    failure_modes: tuple[FailureMode, ...]
    references: tuple[Paper, ...]
    parts: tuple[str, ...] = ()

    @property
    def gives(self) -> str:
        """The advantages, separated by commas."""
        return _listed(_LIKELIHOOD_GIVES.get(self.likelihood), _COST_GIVES.get(self.cost), self.strengths)

    @property
    def drawbacks(self) -> str:
        """The disadvantages, separated by commas."""
        inherited = [_PART_LIMITS.get(part, f"the errors of its {part}") for part in self.parts]
        return _listed(_LIKELIHOOD_LACKS.get(self.likelihood), _COST_LACKS.get(self.cost), self.weaknesses, *inherited)

    def record(self, paradigm: Paradigm) -> dict[str, Any]:
        """A JSON value; failure modes and references are left to the paradigm, which it names."""
        texts = {name: getattr(self, name) for name in _TEXTS}
        words = {"likelihood": self.likelihood.value, "cost": self.cost.value, "parts": list(self.parts)}
        return {"paradigm": paradigm.value, **texts, **words}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Facts:
        """Read the value that :meth:`record` wrote, with the failure modes and references of its paradigm.

        Raises:
            KeyError, ValueError: for a record of another form.
        """
        texts: dict[str, Any] = {name: _printable(record[name]) for name in _TEXTS}
        kind, cost, parts = Kind(record["likelihood"]), Cost(record["cost"]), tuple(map(_printable, record["parts"]))
        return replace(FACTS[Paradigm(record["paradigm"])], **texts, likelihood=kind, cost=cost, parts=parts)


_TEXTS = (
    "represents", "objective", "objective_formula", "sampling", "sampling_formula", "likelihood_note", "cost_note",
    "strengths", "weaknesses",
)  # fmt: skip


def _printable(text: object) -> str:
    """A text of a file, without what could steer a terminal."""
    return "".join(sign for sign in str(text) if sign.isprintable())


def _listed(*clauses: str | None) -> str:
    """The clauses that are not empty, separated by commas."""
    return ", ".join(clause for clause in clauses if clause)


COSTS: Mapping[Cost, str] = {
    Cost.CONSTANT: "one network evaluation per sample",
    Cost.LENGTH: "one network evaluation per piece of the example, so the cost grows with its length",
    Cost.STEPS: "one or two network evaluations per step; the number of steps is a setting, not the example's size",
    Cost.CHAIN: "one network evaluation per move of a Markov chain; how many moves are enough is not known beforehand",
}
"""How the network evaluations of one sample grow, in words."""

_LIKELIHOOD_GIVES = {
    Kind.EXACT: "an exact likelihood",
    Kind.LOWER_BOUND: "a lower bound on the likelihood",
    Kind.ESTIMATE: "an estimate of the likelihood",
    Kind.ESTIMATED_BOUND: "an estimate of a lower bound on the likelihood",
}
_LIKELIHOOD_LACKS = {
    Kind.LOWER_BOUND: "an unknown gap between the bound and the likelihood",
    Kind.ESTIMATED_BOUND: "an unknown gap between the bound and the likelihood",
    Kind.UNNORMALISED: "an unknown normaliser",
    Kind.NONE: "no likelihood",
}
_COST_GIVES = {Cost.CONSTANT: "a sample in one network evaluation"}
_COST_LACKS = {
    Cost.LENGTH: "slow sampling (one piece after the other)",
    Cost.STEPS: "several network evaluations per sample",
    Cost.CHAIN: "slow Markov chains",
}
_PART_LIMITS = {
    "autoencoder": "samples no better than what its autoencoder can reconstruct",
    "tokenizer": "samples no better than what its tokenizer can reconstruct",
}


@dataclass(frozen=True)
class Recipe:
    """A function ``(space, size) -> GenerativeModel`` by its address, which is imported when it is first called.

    A card can so name its recipes without loading the networks that they build.

    Attributes:
        address: ``"module:function"``.
    """

    address: str

    def __call__(self, space: Any, size: str) -> Any:
        module, _, function = self.address.partition(":")
        return getattr(importlib.import_module(module), function)(space, size)

    @classmethod
    def of(cls, module: str, *names: str) -> dict[str, Recipe]:
        """The functions of a module by the names of their recipes: ``mean-flow`` is the function ``mean_flow``."""
        return {name: cls(f"{module}:{name.replace('-', '_')}") for name in names}


@dataclass(frozen=True, kw_only=True)
class Card:
    """The declaration of a paradigm: found by the walk, it gets checks, a name, a page and a row in reports.

    The cards of fourfold stand in :mod:`fourfold.cards`, those of third parties in the modules that they register.

    What a recipe trains, how it samples and what its likelihood is are said by the parts of its models. ``strengths``,
    ``weaknesses`` and ``references`` replace those of the paradigm where they are given.

    Attributes:
        name: of the paradigm on the command line.
        paradigm: where it stands on the map.
        recipes: by name, functions ``(space, size) -> GenerativeModel`` or their addresses (:class:`Recipe`). A recipe
            raises ``TypeError`` for a space that it does not model; the name of the card alone means its first recipe
            that models the space.
        summary: one sentence.
        captioned: the recipes that model images given captions; :func:`fourfold.paradigms.build` refuses such a space
            to the others.
        strengths, weaknesses: clauses in plain English, separated by commas.
        references: papers.
    """

    name: str
    paradigm: Paradigm
    recipes: Mapping[str, Callable[[Any, str], Any]] = field(repr=False)
    summary: str = ""
    captioned: tuple[str, ...] = ()
    strengths: str = ""
    weaknesses: str = ""
    references: tuple[Paper, ...] = ()

    def facts(self, facts: Facts) -> Facts:
        """The facts of one of its models, with what this card says in place of its paradigm."""
        return replace(
            facts,
            strengths=self.strengths or facts.strengths,
            weaknesses=self.weaknesses or facts.weaknesses,
            references=self.references or facts.references,
        )


FACTS: Mapping[Paradigm, Facts] = {
    Paradigm.AUTOREGRESSIVE: Facts(
        represents="a product of conditional distributions, one for each piece of the example, in a fixed order",
        objective="maximise the log-likelihood of each piece given the earlier ones",
        objective_formula="min_θ −Σ_i log p_θ(x_i | x_<i)",
        sampling="draw the pieces one after the other, each given the pieces already drawn",
        sampling_formula="x_i ~ p_θ(· | x_<i),  i = 1 … L",
        likelihood=Kind.EXACT,
        likelihood_note="the chain rule makes log p(x) a sum over the pieces (tokens, pixels or columns)",
        cost=Cost.LENGTH,
        cost_note="one network evaluation per piece of the example; earlier work is cached",
        strengths="stable training, one model for scoring and sampling",
        weaknesses="a fixed order, errors that feed back into later pieces",
        failure_modes=(
            FailureMode(
                "drift",
                "each draw conditions the next one, so an early error carries a sample away from the data",
                "the model's log-likelihood of its own samples, compared with that of held-out data",
            ),
            FailureMode(
                "repetition",
                "a low temperature or a short context makes a sample repeat itself",
                "the share of repeated n-grams in samples, compared with data",
            ),
            FailureMode(
                "overfitting",
                "a flexible model learns small training data by heart",
                "the gap between training and validation log-likelihood",
                "gap",
            ),
        ),
        references=(
            Paper(
                "Bengio, Ducharme, Vincent, Jauvin",
                2003,
                "A Neural Probabilistic Language Model",
                "https://www.jmlr.org/papers/v3/bengio03a.html",
            ),
            Paper(
                "van den Oord, Kalchbrenner, Kavukcuoglu",
                2016,
                "Pixel Recurrent Neural Networks",
                "https://arxiv.org/abs/1601.06759",
            ),
            Paper("Vaswani et al.", 2017, "Attention Is All You Need", "https://arxiv.org/abs/1706.03762"),
        ),
    ),
    Paradigm.LATENT_VARIABLE: Facts(
        represents="a prior over codes, fixed or learned, and a decoder from codes to a distribution over examples",
        objective=(
            "maximise a lower bound on the log-likelihood (or the log-likelihood itself, where codes can be summed out)"
        ),
        objective_formula="max_θ,φ E_q_φ(z|x)[log p_θ(x | z)] − KL(q_φ(z | x) ‖ p(z))",
        sampling="draw a code from the prior and decode it",
        sampling_formula="z ~ p(z),  x ~ p_θ(· | z)",
        likelihood=Kind.LOWER_BOUND,
        likelihood_note="the evidence lower bound (ELBO); K importance samples tighten it towards log p(x)",
        cost=Cost.CONSTANT,
        cost_note="one evaluation of the decoder per sample",
        strengths="a code for every example",
        weaknesses="blur where the decoder's noise model is wrong, codes that the prior never draws",
        failure_modes=(
            FailureMode(
                "posterior collapse",
                "a strong decoder ignores the code, and the posterior becomes the prior",
                "the KL term of each part of the code, and the number of active units",
                "active_units",
            ),
            FailureMode(
                "prior hole",
                "the encoder leaves regions of the prior empty, and samples from there are poor",
                "the quality of samples, compared with the quality of reconstructions",
                "kl",
            ),
            FailureMode(
                "blur",
                "a decoder that averages over what it does not know loses detail",
                "the high-frequency energy of samples, compared with data",
            ),
        ),
        references=(
            Paper("Kingma, Welling", 2014, "Auto-Encoding Variational Bayes", "https://arxiv.org/abs/1312.6114"),
            Paper(
                "Rezende, Mohamed, Wierstra",
                2014,
                "Stochastic Backpropagation and Approximate Inference in Deep Generative Models",
                "https://arxiv.org/abs/1401.4082",
            ),
            Paper(
                "Burda, Grosse, Salakhutdinov",
                2016,
                "Importance Weighted Autoencoders",
                "https://arxiv.org/abs/1509.00519",
            ),
        ),
    ),
    Paradigm.ADVERSARIAL: Facts(
        represents="a map from noise to examples, without a density",
        objective=(
            "play a game: a critic learns to tell data from samples, and a generator learns samples that the critic "
            "takes for data"
        ),
        objective_formula="min_G max_D E[f(D(x))] + E[f(−D(G(z)))],  f(t) = −log(1 + e⁻ᵗ)",
        sampling="draw noise and map it to an example, once",
        sampling_formula="z ~ N(0, I),  x = G(z)",
        likelihood=Kind.NONE,
        likelihood_note="the generator defines no density; judge its samples by their distance to held-out data",
        cost=Cost.CONSTANT,
        cost_note="one evaluation of the generator per sample",
        strengths="sharp samples",
        weaknesses="a game that may not converge, missing modes that no loss shows",
        failure_modes=(
            FailureMode(
                "mode collapse",
                "the generator covers only a few modes of the data",
                "recall and coverage, and the spread of a batch of samples, compared with data",
                "diversity",
            ),
            FailureMode(
                "saturated critic",
                "the critic separates data and samples perfectly, and its gradient teaches nothing",
                "the share of pairs that the critic ranks correctly; it should stay well below one",
                "critic_accuracy",
            ),
            FailureMode(
                "oscillation",
                "generator and critic circle around the equilibrium without approaching it",
                "the critic's margin and the gradient penalties over time",
                "critic_margin",
            ),
        ),
        references=(
            Paper("Goodfellow et al.", 2014, "Generative Adversarial Networks", "https://arxiv.org/abs/1406.2661"),
            Paper(
                "Mescheder, Geiger, Nowozin",
                2018,
                "Which Training Methods for GANs do actually Converge?",
                "https://arxiv.org/abs/1801.04406",
            ),
            Paper(
                "Huang, Gokaslan, Kuleshov, Tompkin",
                2024,
                "The GAN is dead; long live the GAN! A Modern GAN Baseline",
                "https://arxiv.org/abs/2501.05441",
            ),
        ),
    ),
    Paradigm.DIFFUSION: Facts(
        represents="the score of the noised data at every noise level (or a denoiser or velocity that implies it)",
        objective="regress the clean example, the noise or the velocity from a noised example",
        objective_formula="min_θ E_t,x,ε  w(t)·‖D_θ(α_t x + σ_t ε, t) − x‖²",
        sampling="draw noise and integrate an ODE or SDE from noise to data",
        sampling_formula="x_T ~ N(0, σ_T² I),  dx = v_θ(x, t) dt  from T to 0",
        likelihood=Kind.ESTIMATE,
        likelihood_note="the probability-flow ODE gives an estimate, the variational view a lower bound",
        cost=Cost.STEPS,
        cost_note="one or two network evaluations per solver step, whatever the size of the example",
        strengths="high sample quality, stable training by regression, guidance at sampling time",
        weaknesses="residual noise when steps are few",
        failure_modes=(
            FailureMode(
                "discretisation error",
                "too few solver steps leave blur or residual noise",
                "sample quality at several numbers of steps",
            ),
            FailureMode(
                "memorisation",
                "long training on small data returns training examples",
                "the distance of samples to the nearest training example, compared with held-out examples",
                "gap",
            ),
            FailureMode(
                "uneven noise levels",
                "some noise levels are learned late and spoil whole trajectories",
                "the loss at low and at high noise",
                "loss_high_noise",
            ),
        ),
        references=(
            Paper(
                "Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli",
                2015,
                "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
                "https://arxiv.org/abs/1503.03585",
            ),
            Paper(
                "Ho, Jain, Abbeel", 2020, "Denoising Diffusion Probabilistic Models", "https://arxiv.org/abs/2006.11239"
            ),
            Paper(
                "Song et al.",
                2021,
                "Score-Based Generative Modeling through Stochastic Differential Equations",
                "https://arxiv.org/abs/2011.13456",
            ),
            Paper(
                "Karras, Aittala, Aila, Laine",
                2022,
                "Elucidating the Design Space of Diffusion-Based Generative Models",
                "https://arxiv.org/abs/2206.00364",
            ),
            Paper(
                "Lipman, Chen, Ben-Hamu, Nickel, Le",
                2023,
                "Flow Matching for Generative Modeling",
                "https://arxiv.org/abs/2210.02747",
            ),
        ),
    ),
    Paradigm.FLOW: Facts(
        represents="an invertible map between noise and data",
        objective="maximise the log-likelihood, by the change of variables",
        objective_formula="min_θ −log N(f_θ(x); 0, I) − log |det ∂f_θ/∂x|",
        sampling="draw noise and apply the inverse map",
        sampling_formula="z ~ N(0, I),  x = f_θ⁻¹(z)",
        likelihood=Kind.EXACT,
        likelihood_note=(
            "the change of variables gives the exact density of real numbers; for dequantised integers it is a lower "
            "bound"
        ),
        cost=Cost.CONSTANT,
        cost_note=(
            "one evaluation where the map is made of couplings, one per piece where it is autoregressive, solver steps "
            "where it is an ODE"
        ),
        strengths="a code for every example that reconstructs it",
        weaknesses=(
            "a map that must be invertible, mass between separate modes, a high likelihood for some inputs unlike data"
        ),
        failure_modes=(
            FailureMode(
                "bridges",
                "a continuous map cannot separate modes, so some mass lies between them",
                "the density between known modes",
            ),
            FailureMode(
                "numerical inverse",
                "the inverse drifts from the forward map",
                "the error of an example that goes through f and f⁻¹",
                "inverse_error",
            ),
        ),
        references=(
            Paper(
                "Dinh, Sohl-Dickstein, Bengio",
                2017,
                "Density estimation using Real NVP",
                "https://arxiv.org/abs/1605.08803",
            ),
            Paper(
                "Papamakarios et al.",
                2021,
                "Normalizing Flows for Probabilistic Modeling and Inference",
                "https://arxiv.org/abs/1912.02762",
            ),
        ),
    ),
    Paradigm.ENERGY: Facts(
        represents="an unnormalised log-density",
        objective="make the energy low where data is: by contrast with samples or with noise, or by score matching",
        objective_formula="∇_θ L = E_data[∇_θ E_θ] − E_model[∇_θ E_θ],  p_θ = exp(−E_θ) / Z",
        sampling="run a Markov chain that follows the energy's gradient, with noise",
        sampling_formula="x ← x − η·∇E_θ(x) + √(2η)·ε",
        likelihood=Kind.UNNORMALISED,
        likelihood_note="the normaliser Z is unknown; annealed importance sampling brackets it",
        cost=Cost.CHAIN,
        cost_note="one network evaluation per move of a Markov chain; nobody knows beforehand how many are enough",
        strengths="a free choice of network, energies that can be added, a score for any input",
        weaknesses="training that can diverge",
        failure_modes=(
            FailureMode(
                "exploding energies",
                "energies grow without bound",
                "the gap between the energies of data and of samples",
                "energy_gap",
            ),
            FailureMode(
                "chains that do not mix",
                "chains stay near where they started",
                "R-hat and the effective sample size",
                "rhat",
            ),
        ),
        references=(
            Paper(
                "LeCun, Chopra, Hadsell, Ranzato, Huang",
                2006,
                "A Tutorial on Energy-Based Learning",
                "http://yann.lecun.com/exdb/publis/pdf/lecun-06.pdf",
            ),
            Paper(
                "Hinton",
                2002,
                "Training Products of Experts by Minimizing Contrastive Divergence",
                "https://www.cs.toronto.edu/~hinton/absps/nccd.pdf",
            ),
        ),
    ),
}


@dataclass(frozen=True)
class Variant:
    """How a well-known variant of a paradigm trains and samples, where that is not what :data:`FACTS` says."""

    objective: str
    objective_formula: str
    sampling: str
    sampling_formula: str


def _of(paradigm: Paradigm, **changes: str) -> Variant:
    """A variant that differs from its paradigm in what is given."""
    facts = FACTS[paradigm]
    common = Variant(facts.objective, facts.objective_formula, facts.sampling, facts.sampling_formula)
    return replace(common, **changes)


VARIANTS: Mapping[Paradigm, Mapping[str, Variant]] = {
    Paradigm.AUTOREGRESSIVE: {
        "an inner sampler for each piece": _of(
            Paradigm.AUTOREGRESSIVE,
            objective="train an inner model, such as a small diffusion model, of each piece given the earlier ones",
            objective_formula="min_θ Σ_i L(x_i | h_θ(x_<i))",
            sampling="draw the pieces (or groups of them) one after the other, each by the inner sampler",
            sampling_formula="x_i ~ q_θ(· | h_θ(x_<i)),  i = 1 … L",
        ),
    },
    Paradigm.LATENT_VARIABLE: {
        "evidence lower bound": _of(
            Paradigm.LATENT_VARIABLE,
            objective="maximise the evidence lower bound (ELBO) on the log-likelihood",
        ),
        "latents summed out": _of(
            Paradigm.LATENT_VARIABLE,
            objective="maximise the log-likelihood with the latents summed out, often by expectation-maximisation (EM)",
            objective_formula="max_θ Σ_n log Σ_z p_θ(z) p_θ(x_n | z)",
            sampling="draw the latents (a component, hidden states), then the example given them",
        ),
        "codes matched to the prior": _of(
            Paradigm.LATENT_VARIABLE,
            objective="reconstruct each example, and match the codes as a whole to the prior, by a critic or a kernel",
            objective_formula="min_θ,φ E‖x − d_θ(e_φ(x))‖² + λ·D(q_φ(z), p(z))",
        ),
    },
    Paradigm.ADVERSARIAL: {
        "Wasserstein": _of(
            Paradigm.ADVERSARIAL,
            objective=(
                "play a game in which a critic of bounded slope estimates the Wasserstein distance that the generator "
                "reduces"
            ),
            objective_formula="min_G max_‖D‖≤1 E[D(x)] − E[D(G(z))]",
        ),
        "hinge": _of(
            Paradigm.ADVERSARIAL,
            objective="play a game with a hinge loss: the critic is trained only where its margin is below one",
            objective_formula="min_D E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))],  min_G −E[D(G(z))]",
        ),
        "least squares": _of(
            Paradigm.ADVERSARIAL,
            objective="play a game in which the critic regresses 1 for data and 0 for samples",
            objective_formula="min_D E[(D(x) − 1)²] + E[D(G(z))²],  min_G E[(D(G(z)) − 1)²]",
        ),
    },
    Paradigm.DIFFUSION: {
        "Gaussian noise": _of(
            Paradigm.DIFFUSION,
            objective="regress the clean example, the noise or the score from an example with Gaussian noise",
        ),
        "velocity": _of(
            Paradigm.DIFFUSION,
            objective="regress the velocity that carries noise to data (flow matching, rectified flow)",
            objective_formula="min_θ E_t,x,ε ‖v_θ((1 − t) x + t ε, t) − (ε − x)‖²",
            sampling="draw noise and integrate the ODE of the velocity from noise to data",
            sampling_formula="x_1 ~ N(0, I),  dx = v_θ(x, t) dt  from 1 to 0",
        ),
        "masked or discrete": _of(
            Paradigm.DIFFUSION,
            objective="predict symbols that were masked or corrupted, weighted to a bound on the log-likelihood",
            objective_formula="min_θ E_t,x,x_t w(t)·Σ_i −log p_θ(x_i | x_t),  i masked in x_t",
            sampling="start with every symbol masked (or random), and fill them in over several rounds",
            sampling_formula="x_1 = masked,  x_s ~ p_θ(x_s | x_t)  for t > s from 1 to 0",
        ),
        "consistency or distilled": _of(
            Paradigm.DIFFUSION,
            objective="map every point of a trajectory from noise to data to its end, alone or after a teacher",
            objective_formula="min_θ E_t,x ‖f_θ(x_t, t) − f_θ⁻(x_s, s)‖²,  s < t on one trajectory",
            sampling="draw noise and map it to an example in one step or a few",
            sampling_formula="x_T ~ N(0, σ_T² I),  x = f_θ(x_T, T)",
        ),
    },
    Paradigm.FLOW: {
        "continuous": _of(
            Paradigm.FLOW,
            objective="maximise the log-likelihood by the change of variables along an ODE",
            objective_formula="min_θ −log N(z; 0, I) − ∫ tr(∂v_θ/∂x) dt,  z at the end of dx = v_θ(x, t) dt",
            sampling="draw noise and integrate the ODE back to data",
            sampling_formula="z ~ N(0, I),  dx = v_θ(x, t) dt  back from z",
        ),
        "autoregressive map": _of(
            Paradigm.FLOW,
            sampling="draw noise and invert the map one dimension after the other",
            sampling_formula="z ~ N(0, I),  x_i = f_i⁻¹(z_i; x_<i),  i = 1 … D",
        ),
    },
    Paradigm.ENERGY: {
        "Gibbs sampling": _of(
            Paradigm.ENERGY,
            sampling="draw hidden units given the visible ones and these given the hidden ones, in turn",
            sampling_formula="h ~ p_θ(h | x),  x ~ p_θ(x | h),  many times",
        ),
        "noise contrast": _of(
            Paradigm.ENERGY,
            objective=(
                "tell data from draws of a known noise distribution by their energies (noise-contrastive estimation)"
            ),
            objective_formula="max_θ E_data[log σ(u_θ)] + E_noise[log σ(−u_θ)],  u_θ = −E_θ(x) − log p_noise(x)",
        ),
    },
}
"""Variants of a paradigm that are told apart, by name."""
