"""Well-known variants of the paradigms, which train or sample in another way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fourfold.vocabulary.facts import FACTS
from fourfold.vocabulary.terms import Paradigm

__all__ = ["VARIANTS", "Variant"]


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
        "an inner sampler for each token": _of(
            Paradigm.AUTOREGRESSIVE,
            objective="train an inner model, such as a small diffusion model, of each token given the earlier ones",
            objective_formula="min_θ Σ_i L(x_i | h_θ(x_<i))",
            sampling="draw the tokens (or groups of them) one after the other, each by the inner sampler",
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
                "train a critic of bounded slope to estimate the Wasserstein distance, and a generator to reduce it"
            ),
            objective_formula="min_G max_‖D‖≤1 E[D(x)] − E[D(G(z))]",
        ),
        "hinge": _of(
            Paradigm.ADVERSARIAL,
            objective="train a generator against a critic with a hinge loss, which learns below a margin of one",
            objective_formula="min_D E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))],  min_G −E[D(G(z))]",
        ),
        "least squares": _of(
            Paradigm.ADVERSARIAL,
            objective="train a generator against a critic that regresses 1 for data and 0 for samples",
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
"""Variants of a paradigm that the atlas distinguishes, by name."""
