"""Hybrids: a paradigm behind a learned codec, or after a teacher of another paradigm."""

from fourfold.vocabulary import Card, Paper, Paradigm, Recipe

__all__ = ["CARDS"]

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
        recipes=Recipe.of("fourfold.recipes.latent_diffusion", "unet", "dit", "perceptron"),
        summary="Diffusion of the codes of an autoencoder that is trained first.",
        strengths="diffusion at the cost of the code's size, guidance at sampling time",
        weaknesses="a loose likelihood",
        references=_DIFFUSED_CODES,
    ),
    Card(
        name="latent-autoregressive",
        paradigm=Paradigm.AUTOREGRESSIVE,
        recipes=Recipe.of("fourfold.recipes.latent_autoregressive", "fsq", "vq"),
        summary="A causal transformer of the codes of a tokenizer that is trained first.",
        strengths="one sequence model for any data that can be tokenised, sequences far shorter than the data",
        weaknesses="a fixed order, errors that feed back into later codes",
        references=_PREDICTED_CODES,
    ),
    Card(
        name="latent-flow",
        paradigm=Paradigm.FLOW,
        recipes=Recipe.of("fourfold.recipes.latent_flow", "coupling"),
        summary="A normalizing flow of the codes of a variational autoencoder that is trained first.",
        strengths="a code for every example, a prior without the holes of a fixed one",
        weaknesses="blur where the decoder's noise model is wrong",
        references=_FLOWED_CODES,
    ),
    Card(
        name="adversarial-student",
        paradigm=Paradigm.ADVERSARIAL,
        recipes=Recipe.of("fourfold.recipes.adversarial_student", "distilled"),
        teacher="diffusion",
        summary="A generator taught by a critic and by a diffusion model that is trained first.",
        strengths="one-pass samples that start from what diffusion has learned",
        weaknesses="training that may not converge",
        references=_STUDENTS,
    ),
)
