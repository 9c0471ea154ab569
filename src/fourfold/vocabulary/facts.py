"""The facts of every paradigm: its two answers, and their consequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fourfold.vocabulary.rules import Active, Below, NearOne, Settled
from fourfold.vocabulary.terms import Cost, Facts, FailureMode, Kind, Paper, Paradigm

__all__ = ["FACTS", "recorded_facts"]

FACTS: Mapping[Paradigm, Facts] = {
    Paradigm.AUTOREGRESSIVE: Facts(
        represents="a product of conditional distributions, one for each token of the example, in a fixed order",
        objective="maximise the log-likelihood of each token given the earlier ones",
        objective_formula="min_θ −Σ_i log p_θ(x_i | x_<i)",
        sampling="draw the tokens one after the other, each given the tokens already drawn",
        sampling_formula="x_i ~ p_θ(· | x_<i),  i = 1 … L",
        likelihood=Kind.EXACT,
        likelihood_note="the chain rule makes log p(x) a sum over the tokens (of a text, pixels or columns)",
        cost=Cost.LENGTH,
        cost_note="one network evaluation per token of the example; earlier work is cached",
        strengths="stable training, one model for scoring and sampling",
        weaknesses="a fixed order, errors that feed back into later tokens",
        failure_modes=(
            FailureMode(
                "drift",
                "each draw conditions the next one, so an early error carries a sample away from the data",
                "the model's log-likelihood of its own samples, compared with that of held-out data",
                scores=("drift",),
            ),
            FailureMode(
                "repetition",
                "a low temperature or a short context makes a sample repeat itself",
                "the share of repeated n-grams in samples, compared with data",
                scores=("repetition",),
            ),
            FailureMode(
                "overfitting",
                "a flexible model learns small training data by heart",
                "the gap between training and validation log-likelihood",
                "gap",
                scores=("likelihood_gap",),
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
                rule=Active(),
            ),
            FailureMode(
                "prior hole",
                "the encoder leaves regions of the prior empty, and samples from there are poor",
                "the quality of samples, compared with the quality of reconstructions",
                "kl",
                scores=("precision",),
            ),
            FailureMode(
                "blur",
                "a decoder that averages over what it does not know loses detail",
                "the high-frequency energy of samples, compared with data",
                scores=("detail_ratio",),
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
            "train a critic to tell data from samples, and a generator against it, whose samples the critic takes for "
            "data"
        ),
        objective_formula="min_G max_D E[f(D(x))] + E[f(−D(G(z)))],  f(t) = −log(1 + e⁻ᵗ)",
        sampling="draw noise and map it to an example, once",
        sampling_formula="z ~ N(0, I),  x = G(z)",
        likelihood=Kind.NONE,
        likelihood_note="the generator defines no density; judge its samples by their distance to held-out data",
        cost=Cost.CONSTANT,
        cost_note="one evaluation of the generator per sample",
        strengths="sharp samples",
        weaknesses="training that may not converge, missing modes that no loss shows",
        failure_modes=(
            FailureMode(
                "mode collapse",
                "the generator covers only a few modes of the data",
                "recall and coverage, and the spread of a batch of samples, compared with data",
                "diversity",
                rule=NearOne(),
                scores=("recall", "coverage"),
            ),
            FailureMode(
                "saturated critic",
                "the critic separates data and samples perfectly, and its gradient teaches nothing",
                "the share of pairs that the critic ranks correctly; it should stay well below one",
                "critic_accuracy",
                rule=Below(0.9, 0.99),
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
                sweep=True,
            ),
            FailureMode(
                "memorisation",
                "long training on small data returns training examples",
                "the distance of samples to the nearest training example, compared with held-out examples",
                "gap",
                scores=("memorisation_ratio", "copied"),
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
            "one evaluation where the map is made of couplings, one per token where it is autoregressive, solver steps "
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
                scores=("precision",),
            ),
            FailureMode(
                "numerical inverse",
                "the inverse drifts from the forward map",
                "the error of an example that goes through f and f⁻¹",
                "inverse_error",
                rule=Below(1e-3, 1e-2),
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
                rule=Settled(),
            ),
            FailureMode(
                "chains that do not mix",
                "chains stay near where they started",
                "R-hat and the effective sample size",
                "rhat",
                # 1.01 by Vehtari et al. 2021 (https://arxiv.org/abs/1903.08008), 1.1 by Gelman, Rubin 1992.
                rule=Below(1.01, 1.1),
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


def recorded_facts(record: Mapping[str, Any]) -> Facts:
    """The facts that :meth:`Facts.record` wrote, with what it leaves to its paradigm.

    Raises:
        KeyError, ValueError: for a record of another form.
    """
    return FACTS[Paradigm(record["paradigm"])].with_record(record)
