"""Well-known variants of the paradigms, which train or sample in another way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fourfold.vocabulary.facts import FACTS
from fourfold.vocabulary.terms import FailureMode, Paradigm

__all__ = ["VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """How a variant of a paradigm trains and samples, and what follows, where :data:`FACTS` says otherwise."""

    objective: str
    objective_formula: str
    sampling: str
    sampling_formula: str
    strengths: str
    weaknesses: str
    failure_modes: tuple[FailureMode, ...]


def _of(paradigm: Paradigm, failure_modes: tuple[FailureMode, ...] = (), **changes: str) -> Variant:
    """A variant that differs from its paradigm in what is given."""
    facts = FACTS[paradigm]
    common = Variant(
        facts.objective,
        facts.objective_formula,
        facts.sampling,
        facts.sampling_formula,
        facts.strengths,
        facts.weaknesses,
        facts.failure_modes,
    )
    own = replace(common, failure_modes=failure_modes) if failure_modes else common
    return replace(own, **changes)  # type: ignore[arg-type]  # all that changes beside failure modes is text


def _mode(paradigm: Paradigm, name: str) -> FailureMode:
    """A failure mode that a variant shares with its paradigm."""
    return next(mode for mode in FACTS[paradigm].failure_modes if mode.name == name)


VARIANTS: Mapping[Paradigm, Mapping[str, Variant]] = {
    Paradigm.AUTOREGRESSIVE: {
        "any order": _of(
            Paradigm.AUTOREGRESSIVE,
            objective="maximise the log-likelihood of each token given those before it in an order drawn at random",
            objective_formula="min_θ −E_σ Σ_i log p_θ(x_σ(i) | x_σ(1), …, x_σ(i−1))",
            sampling="draw the tokens one after the other, in any order, each given the tokens already drawn",
            sampling_formula="x_σ(i) ~ p_θ(· | x_σ(1), …, x_σ(i−1)),  i = 1 … L",
            strengths="any order, any part given, one model for scoring and sampling",
            weaknesses="every order to be learned by one network, errors that feed back into later tokens",
        ),
        "an inner sampler for each token": _of(
            Paradigm.AUTOREGRESSIVE,
            objective="train an inner model, such as a small diffusion model, of each token given the earlier ones",
            objective_formula="min_θ Σ_i L(x_i | h_θ(x_<i))",
            sampling="draw the tokens (or groups of them) one after the other, each by the inner sampler",
            sampling_formula="x_i ~ q_θ(· | h_θ(x_<i)),  i = 1 … L",
            strengths="continuous tokens without a codebook",
            weaknesses="errors that feed back into later tokens, an inner sampler for every token",
            failure_modes=(
                _mode(Paradigm.AUTOREGRESSIVE, "drift"),
                FailureMode(
                    "inner sampling error",
                    "too few steps of the inner sampler leave an error in every token, and later tokens build on it",
                    "sample quality at several numbers of inner steps",
                ),
            ),
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
            strengths="a posterior of the latents for every example",
            weaknesses="an optimum that depends on the start, a number of components or states set beforehand",
            failure_modes=(
                FailureMode(
                    "local optimum",
                    "another start ends at another likelihood",
                    "the spread of the final likelihood over several starts",
                ),
                FailureMode(
                    "collapsed component",
                    "a component shrinks around a few examples, and its density grows without bound",
                    "the smallest variance and the smallest weight of a component",
                ),
                FailureMode(
                    "too few components",
                    "components average over groups that differ",
                    "the held-out likelihood as their number grows",
                ),
            ),
        ),
        "codes matched to the prior": _of(
            Paradigm.LATENT_VARIABLE,
            objective="reconstruct each example, and match the codes as a whole to the prior, by a critic or a kernel",
            objective_formula="min_θ,φ E‖x − d_θ(e_φ(x))‖² + λ·D(q_φ(z), p(z))",
            weaknesses="codes that the prior never draws, blur where the decoder averages",
            failure_modes=(
                _mode(Paradigm.LATENT_VARIABLE, "prior hole"),
                _mode(Paradigm.LATENT_VARIABLE, "blur"),
            ),
        ),
    },
    Paradigm.ADVERSARIAL: {
        "Wasserstein": _of(
            Paradigm.ADVERSARIAL,
            objective=(
                "train a critic of bounded slope to estimate the Wasserstein distance, and a generator to reduce it"
            ),
            objective_formula="min_G max_‖D‖≤1 E[D(x)] − E[D(G(z))]",
            strengths="sharp samples, a critic's loss that follows sample quality",
            weaknesses="a slope of the critic that must be bounded, missing modes that no loss shows",
            failure_modes=(
                _mode(Paradigm.ADVERSARIAL, "mode collapse"),
                FailureMode(
                    "unbounded slope",
                    "the critic breaks its bound, and its loss is no distance any more",
                    "the norm of the critic's gradient between data and samples; it should stay near one",
                ),
            ),
        ),
        "hinge": _of(
            Paradigm.ADVERSARIAL,
            objective="train a generator against a critic with a hinge loss, which learns below a margin of one",
            objective_formula="min_D E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))],  min_G −E[D(G(z))]",
            failure_modes=(
                _mode(Paradigm.ADVERSARIAL, "mode collapse"),
                FailureMode(
                    "critic beyond its margin",
                    "data and samples lie beyond the margin of one, and the critic stops to learn",
                    "the share of data and samples beyond the margin",
                ),
                _mode(Paradigm.ADVERSARIAL, "oscillation"),
            ),
        ),
        "least squares": _of(
            Paradigm.ADVERSARIAL,
            objective="train a generator against a critic that regresses 1 for data and 0 for samples",
            objective_formula="min_D E[(D(x) − 1)²] + E[D(G(z))²],  min_G E[(D(G(z)) − 1)²]",
            failure_modes=(
                _mode(Paradigm.ADVERSARIAL, "mode collapse"),
                _mode(Paradigm.ADVERSARIAL, "oscillation"),
            ),
        ),
        "a scoring rule, no critic": _of(
            Paradigm.ADVERSARIAL,
            objective=(
                "draw samples, and lower a fixed score of them against data (CRPS, energy score, kernel discrepancy). "
                "No critic is trained; the map puts it here for its sampling and its lack of a density"
            ),
            objective_formula="min_θ E‖G(z) − x‖ − ½ E‖G(z) − G(z′)‖",
            strengths="stable training without a game, a loss that measures samples",
            weaknesses="a score that sees little of many dimensions at once, several samples for each step of training",
            failure_modes=(
                FailureMode(
                    "blind score",
                    "the score sees single values or a kernel, and joint structure between them is not learned",
                    "spectra and correlations of samples, compared with data",
                ),
                FailureMode(
                    "wrong spread",
                    "samples vary too little or too much around the truth",
                    "the spread of an ensemble, compared with the error of its mean",
                ),
            ),
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
            strengths="high sample quality, stable training by regression, paths that are nearly straight",
            failure_modes=(
                FailureMode(
                    "curved paths",
                    "paths that bend need more solver steps than straight ones",
                    "sample quality at several numbers of steps",
                    sweep=True,
                ),
                _mode(Paradigm.DIFFUSION, "memorisation"),
            ),
        ),
        "masked or discrete": _of(
            Paradigm.DIFFUSION,
            objective="predict symbols that were masked or corrupted, from the others",
            objective_formula="min_θ E_t,x,x_t w(t)·Σ_i −log p_θ(x_i | x_t),  i masked in x_t",
            sampling="start with every symbol masked (or random), and fill them in over several rounds",
            sampling_formula="x_1 = masked,  x_s ~ p_θ(x_s | x_t)  for t > s from 1 to 0",
            strengths="any order, gaps filled from both sides, many symbols per round",
            weaknesses="symbols of one round that are drawn without each other, some of which fit badly",
            failure_modes=(
                FailureMode(
                    "symbols that clash",
                    "symbols of one round are drawn without each other",
                    "sample quality at several numbers of rounds",
                    sweep=True,
                ),
                FailureMode(
                    "no second thought",
                    "a symbol that is filled in stays, unless the sampler masks it again",
                    "the model's log-likelihood of its own samples, compared with that of held-out data",
                ),
                _mode(Paradigm.DIFFUSION, "memorisation"),
            ),
        ),
        "consistency or distilled": _of(
            Paradigm.DIFFUSION,
            objective="map every point of a trajectory from noise to data to its end, alone or after a teacher",
            objective_formula="min_θ E_t,x ‖f_θ(x_t, t) − f_θ⁻(x_s, s)‖²,  s < t on one trajectory",
            sampling="draw noise and map it to an example in one step or a few",
            sampling_formula="x_T ~ N(0, σ_T² I),  x = f_θ(x_T, T)",
            strengths="samples of good quality in few evaluations",
            weaknesses="less diversity and detail than a sampler of many steps",
            failure_modes=(
                FailureMode(
                    "loss of diversity",
                    "a map of few steps covers less than a sampler of many",
                    "recall and coverage, compared with a sampler of many steps",
                ),
                FailureMode(
                    "blur at one step",
                    "the map averages over the ends that one start could have",
                    "sample quality at one, two and four steps",
                ),
            ),
        ),
    },
    Paradigm.FLOW: {
        "continuous": _of(
            Paradigm.FLOW,
            objective="maximise the log-likelihood by the change of variables along an ODE",
            objective_formula="min_θ −log N(z; 0, I) − ∫ tr(∂v_θ/∂x) dt,  z at the end of dx = v_θ(x, t) dt",
            sampling="draw noise and integrate the ODE back to data",
            sampling_formula="z ~ N(0, I),  dx = v_θ(x, t) dt  back from z",
            strengths="a code for every example that reconstructs it, a network of any form",
            weaknesses="a solver to run in training and in sampling, mass between separate modes",
            failure_modes=(
                FailureMode(
                    "solver error",
                    "the density depends on the solver's tolerance",
                    "the log-likelihood at two tolerances",
                ),
                _mode(Paradigm.FLOW, "bridges"),
            ),
        ),
        "autoregressive map": _of(
            Paradigm.FLOW,
            sampling="draw noise and invert the map one dimension after the other",
            sampling_formula="z ~ N(0, I),  x_i = f_i⁻¹(z_i; x_<i),  i = 1 … D",
            weaknesses="a fixed order, an inverse that takes a pass per dimension, mass between separate modes",
        ),
    },
    Paradigm.ENERGY: {
        "Gibbs sampling": _of(
            Paradigm.ENERGY,
            sampling="draw hidden units given the visible ones and these given the hidden ones, in turn",
            sampling_formula="h ~ p_θ(h | x),  x ~ p_θ(x | h),  many times",
            strengths="exact moves without a step size, hidden units that are drawn all at once",
            weaknesses="a gradient that short chains bias",
            failure_modes=(
                _mode(Paradigm.ENERGY, "chains that do not mix"),
                FailureMode(
                    "spurious modes",
                    "short chains never reach regions far from the data, whose energy training leaves low",
                    "the likelihood of samples of long chains started at random",
                ),
            ),
        ),
        "noise contrast": _of(
            Paradigm.ENERGY,
            objective=(
                "tell data from draws of a known noise distribution by their energies (noise-contrastive estimation)"
            ),
            objective_formula="max_θ E_data[log σ(u_θ)] + E_noise[log σ(−u_θ)],  u_θ = −E_θ(x) − log p_noise(x)",
            strengths="no chain in training, a normaliser that is learned",
            weaknesses="noise that must be near the data",
            failure_modes=(
                FailureMode(
                    "noise that is too easy",
                    "data and noise are told apart at once, and the energy learns no detail",
                    "the share of pairs that the energy ranks correctly; it should stay well below one",
                ),
                _mode(Paradigm.ENERGY, "chains that do not mix"),
            ),
        ),
    },
}
"""Variants of a paradigm that the atlas distinguishes, by name."""
