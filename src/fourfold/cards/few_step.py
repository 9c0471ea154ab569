"""Few-step models: students of diffusion."""

from fourfold.vocabulary import Card, Paper, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="few-step",
    paradigm=Paradigm.DIFFUSION,
    recipes=Recipe.of("fourfold.recipes.few_step", "distilled", "mean-flow", "consistency"),
    teacher="diffusion",
    summary="Jumps along the paths of a diffusion model: samples in 1 to 4 evaluations, without a likelihood.",
    strengths="samples in as few as one network evaluation, stable training by regression",
    weaknesses="detail lost where few jumps must do",
    references=(
        Paper(
            "Luhman, Luhman",
            2021,
            "Knowledge Distillation in Iterative Generative Models for Improved Sampling Speed",
            "https://arxiv.org/abs/2101.02388",
        ),
        Paper("Song, Dhariwal, Chen, Sutskever", 2023, "Consistency Models", "https://arxiv.org/abs/2303.01469"),
        Paper(
            "Zheng et al.",
            2023,
            "Fast Sampling of Diffusion Models via Operator Learning",
            "https://arxiv.org/abs/2211.13449",
        ),
        Paper("Geng et al.", 2025, "Mean Flows for One-step Generative Modeling", "https://arxiv.org/abs/2505.13447"),
    ),
)
