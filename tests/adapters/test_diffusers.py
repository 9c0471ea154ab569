"""Published pipelines: the library's own schedulers, from the same noise, are the oracle."""

from __future__ import annotations

import json

import pytest
import torch

from fourfold import Run, fit
from fourfold.adapters import is_published, open_published
from fourfold.adapters.diffusers import Tabulated
from fourfold.core import Noise, view
from fourfold.estimands import Denoiser, Velocity
from fourfold.samplers.ode import DDIM, DPMSolver

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

UNET = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}


def _unconditional(folder, **schedule):
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**UNET)
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True, **schedule)
    diffusers.DDIMPipeline(unet, scheduler).save_pretrained(folder)
    return unet.eval()


@torch.no_grad()
def _theirs(network, scheduler, x, steps):
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x).prev_sample
    return x


@pytest.mark.parametrize(
    "schedule",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "scaled_linear", "timestep_spacing": "trailing", "prediction_type": "v_prediction"},
        {"beta_schedule": "squaredcos_cap_v2", "steps_offset": 1, "prediction_type": "sample"},
    ],
    ids=lambda schedule: schedule["beta_schedule"],
)
def test_ddim_takes_the_steps_of_the_library(tmp_path, schedule):
    unet = _unconditional(tmp_path, **schedule)
    assert is_published(tmp_path)
    model = open_published(tmp_path)
    estimand = view(model.estimand, Denoiser)
    noise = Noise(0, 0, 4)
    with torch.no_grad():
        found = DDIM(10)(estimand, noise)
    path = model.estimand.path
    start = Noise(0, 0, 4).normal(3, 8, 8) * path.sigma(path.grid(10)[:1]).float()
    scheduler = diffusers.DDIMScheduler.from_pretrained(tmp_path / "scheduler")
    expected = _theirs(lambda x, t: unet(x, t).sample, scheduler, start, 10)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_dpm_solver_visits_the_points_of_the_library(tmp_path):
    """All points at which the network is asked; the two differ in how the last step leaves the noise."""
    unet = _unconditional(tmp_path, beta_schedule="linear", timestep_spacing="trailing")
    model = open_published(tmp_path)
    ours, theirs = [], []
    handle = model.estimand.inner.register_forward_pre_hook(lambda net, given: ours.append(given[0].clone()))
    with torch.no_grad():
        DPMSolver(12)(view(model.estimand, Denoiser), Noise(0, 0, 4))
    handle.remove()
    path = model.estimand.path
    start = Noise(0, 0, 4).normal(3, 8, 8) * path.sigma(path.grid(12)[:1]).float()
    scheduler = diffusers.DPMSolverMultistepScheduler.from_pretrained(
        tmp_path / "scheduler", timestep_spacing="trailing", final_sigmas_type="zero", lower_order_final=True
    )

    def network(x, t):
        theirs.append(x.clone())
        return unet(x, t).sample

    _theirs(network, scheduler, start, 12)
    assert len(ours) == len(theirs) == 12
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.filterwarnings("ignore")
def test_latent_diffusion_by_class_takes_the_steps_of_the_library(tmp_path):
    torch.manual_seed(0)
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1, sample_size=4,
        num_embeds_ada_norm=5, norm_num_groups=4,
    ).eval()  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True)
    diffusers.DiTPipeline(transformer, vae, scheduler).save_pretrained(tmp_path)
    model = open_published(tmp_path)
    assert model.space.classes == 5
    labels = torch.tensor([1, 4, 0])
    with torch.no_grad():
        found = DDIM(8)(view(model.estimand, Denoiser), Noise(0, 0, 3), labels)
    path = model.estimand.path
    start = Noise(0, 0, 3).normal(4, 4, 4) * path.sigma(path.grid(8)[:1]).float()

    def network(x, t):
        return transformer(x, timestep=t.expand(3), class_labels=labels).sample[:, :4]

    expected = _theirs(network, diffusers.DDIMScheduler.from_pretrained(tmp_path / "scheduler"), start, 8)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_a_network_of_classes_without_a_label_for_unknown_says_so(tmp_path):
    unet = diffusers.UNet2DModel(**UNET, num_class_embeds=3)
    diffusers.DDPMPipeline(unet, diffusers.DDIMScheduler()).save_pretrained(tmp_path)
    run = Run.load(tmp_path)
    assert run.sample(2, 1, steps=2).shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="always needs a class"):
        run.sample(2, steps=2)


def test_a_pipeline_is_not_tuned(tmp_path):
    _unconditional(tmp_path, beta_schedule="linear")
    with pytest.raises(ValueError, match="is not a language model, and only those are tuned"):
        fit(str(tmp_path), "digits", budget="2 steps")


def test_a_tabulated_path_is_consistent():
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64), 0)
    path = Tabulated(tuple(bars.tolist()))
    t = torch.arange(1, 101, dtype=torch.float64)
    torch.testing.assert_close(path.alpha(t).square(), bars)
    torch.testing.assert_close(path.alpha(t).square() + path.sigma(t).square(), torch.ones_like(t))
    inner = torch.linspace(1.3, 99.6, 50, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(path.alpha(inner).sum(), inner)
    torch.testing.assert_close(path.d_alpha(inner.detach()), slope)
    (slope,) = torch.autograd.grad(path.sigma(inner).sum(), inner)
    torch.testing.assert_close(path.d_sigma(inner.detach()), slope)
    assert (path.grid(10)[:-1] - 1).tolist() == list(range(90, -1, -10))


def test_a_pixel_model_scores_and_has_a_velocity(tmp_path):
    _unconditional(tmp_path, beta_schedule="linear", num_train_timesteps=50)
    run = Run.load(tmp_path)
    x = run.model.space.examples(2, torch.Generator().manual_seed(0))
    scored = run.log_prob(x, draws=2)
    assert torch.isfinite(scored.nats).all()
    assert view(run.model.estimand, Velocity) is not None
    assert run.sample(2, seed=0, steps=5).shape == (2, 3, 8, 8)


def _stable_diffusion(folder):
    torch.manual_seed(0)
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = {token: i for i, token in enumerate([*letters, *[f"{c}</w>" for c in letters]])}
    vocabulary |= {"<|startoftext|>": 52, "<|endoftext|>": 53}
    words = folder / "words"
    words.mkdir(parents=True)
    (words / "vocab.json").write_text(json.dumps(vocabulary))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=16)
    text = transformers.CLIPTextConfig(
        vocab_size=54,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=16,
        attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder / "sd")
    return pipeline


@pytest.mark.filterwarnings("ignore")
def test_stable_diffusion_draws_what_its_pipeline_draws(tmp_path):
    pipeline = _stable_diffusion(tmp_path)
    run = Run.load(tmp_path / "sd")
    assert run.model.space.shape == (3, 8, 8)
    x = run.sample(2, ["a cat", "a dog"], seed=3, steps=6, guidance=4.0)
    path = run.model.estimand.path
    start = Noise(3, 0, 2).normal(4, 4, 4) * path.sigma(path.grid(6)[:1]).float()
    images = pipeline(
        ["a cat", "a dog"], latents=start, num_inference_steps=6, guidance_scale=4.0, output_type="pt"
    ).images
    expected = (images * 255).round().to(torch.uint8)
    assert (x.int() - expected.int()).abs().max() <= 1
    other = run.sample(2, ["a cat", "a cow"], seed=3, steps=6, guidance=4.0)
    assert torch.equal(other[0], x[0])
    assert not torch.equal(other[1], x[1])
    assert run.log_prob(x).kind == "none"


def test_pickled_weights_are_refused(tmp_path):
    _unconditional(tmp_path, beta_schedule="linear")
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"holds no \.safetensors"):
        open_published(tmp_path)
