"""Published pipelines: the library's own schedulers, from the same noise, are the oracle."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from fourfold import Run, fit
from fourfold.adapters import adapter_of, open_published
from fourfold.core import Noise, view
from fourfold.estimands import Denoiser, Velocity
from fourfold.samplers.ode import DDIM, DPMSolver, Euler
from fourfold_published.schedules import Tabulated
from shorter import shorter

pytestmark = pytest.mark.published
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
    assert adapter_of(tmp_path) is not None
    model = open_published(tmp_path)
    estimand = view(model.estimand, Denoiser)
    noise = Noise(0, 0, 4)
    with torch.no_grad():
        samples = DDIM(10)(estimand, noise)
    path = model.estimand.path
    start = Noise(0, 0, 4).normal(3, 8, 8) * path.sigma(path.grid(10)[:1]).float()
    scheduler = diffusers.DDIMScheduler.from_pretrained(tmp_path / "scheduler")
    expected = _theirs(lambda x, t: unet(x, t).sample, scheduler, start, 10)
    torch.testing.assert_close(samples, expected, atol=1e-4, rtol=1e-4)


def _with_scheduler(folder, scheduler):
    """The pipeline of _unconditional with another scheduler."""
    (folder / "scheduler" / "scheduler_config.json").unlink()
    scheduler.save_pretrained(folder / "scheduler")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "settings",
    [
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "linspace"},
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"use_karras_sigmas": True},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
    ],
    ids=["trailing", "linspace", "leading", "karras", "sigma-min"],
)
def test_dpm_solver_takes_the_steps_of_the_library(tmp_path, settings):
    unet = _unconditional(tmp_path, beta_schedule="linear")
    scheduler = diffusers.DPMSolverMultistepScheduler(
        beta_schedule="linear", prediction_type="v_prediction", **settings
    )
    _with_scheduler(tmp_path, scheduler)
    model = open_published(tmp_path)
    sampler = replace(model.sampler, steps=12)
    assert isinstance(sampler, DPMSolver)
    with torch.no_grad():
        samples = sampler(view(model.estimand, Denoiser), Noise(0, 0, 4))
    path = model.estimand.path
    start = Noise(0, 0, 4).normal(3, 8, 8) * path.sigma(path.grid(12)[:1]).float()
    expected = _theirs(lambda x, t: unet(x, t).sample, scheduler, start, 12)
    torch.testing.assert_close(samples, expected, atol=1e-4, rtol=1e-4)
    settled = DPMSolver(12)(view(model.estimand, Denoiser), Noise(0, 0, 4))
    assert (settled - expected).abs().max() > 1e-3, "the option makes no difference here"


@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "unclipped"])
def test_ddim_clips_and_ends_as_the_scheduler_does(tmp_path, clip):
    unet = _unconditional(tmp_path, beta_schedule="linear")
    scheduler = diffusers.DDIMScheduler(
        clip_sample=clip, clip_sample_range=0.5, set_alpha_to_one=False, prediction_type="v_prediction"
    )
    _with_scheduler(tmp_path, scheduler)
    model = open_published(tmp_path)
    assert model.sampler == DDIM(50, 0.5 if clip else None, clean=False)
    with torch.no_grad():
        samples = replace(model.sampler, steps=10)(view(model.estimand, Denoiser), Noise(0, 0, 4))
    path = model.estimand.path
    start = Noise(0, 0, 4).normal(3, 8, 8) * path.sigma(path.grid(10)[:1]).float()
    expected = _theirs(lambda x, t: unet(x, t).sample, scheduler, start, 10)
    torch.testing.assert_close(samples, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_euler_of_noise_levels_is_ddim(tmp_path):
    unet = _unconditional(tmp_path, beta_schedule="scaled_linear")
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", timestep_spacing="trailing", prediction_type="v_prediction"
    )
    _with_scheduler(tmp_path, scheduler)
    model = open_published(tmp_path)
    with torch.no_grad():
        samples = DDIM(10)(view(model.estimand, Denoiser), Noise(0, 0, 4))
        scheduler.set_timesteps(10)
        x = Noise(0, 0, 4).normal(3, 8, 8) * scheduler.sigmas[0]
        for t in scheduler.timesteps:
            x = scheduler.step(unet(scheduler.scale_model_input(x, t), t).sample, t, x).prev_sample
    torch.testing.assert_close(samples, x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"thresholding": True}, "got thresholding = True"),
        ({"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True}, "use_flow_sigmas = True"),
        ({"prediction_type": "flow_prediction"}, "prediction_type = flow_prediction"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": True}, "stochastic_sampling = True"),
    ],
    ids=["thresholding", "flow-sigmas", "prediction", "stochastic"],
)
def test_settings_of_a_scheduler_that_are_not_read_are_refused(tmp_path, config, said):
    _unconditional(tmp_path, beta_schedule="linear")
    place = tmp_path / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | config))
    with pytest.raises(ValueError, match=said):
        open_published(tmp_path)


@pytest.mark.parametrize("shift", [{"shift": 3.0}, {"use_dynamic_shifting": True}], ids=["shifted", "dynamic"])
def test_flow_matching_of_pixels_takes_the_steps_of_the_library(tmp_path, shift):
    unet = _unconditional(tmp_path, beta_schedule="linear")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**shift)
    _with_scheduler(tmp_path, scheduler)
    model = open_published(tmp_path)
    assert model.sampler == Euler(50)
    with torch.no_grad():
        samples = Euler(10)(model.estimand, Noise(0, 0, 4))
        mu = 0.5 + (64 - 256) * 0.65 / 3840 if "use_dynamic_shifting" in shift else None
        scheduler.set_timesteps(10, mu=mu)
        x = Noise(0, 0, 4).normal(3, 8, 8)
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
    torch.testing.assert_close(samples, x, atol=1e-4, rtol=1e-4)
    run = Run.load(tmp_path)
    assert torch.isfinite(shorter(run.model).log_prob(run.sample(2, steps=3)).nats).all()


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
    assert model.space.given.count == 5
    labels = torch.tensor([1, 4, 0])
    with torch.no_grad():
        samples = DDIM(8)(view(model.estimand, Denoiser), Noise(0, 0, 3), labels)
    path = model.estimand.path
    start = Noise(0, 0, 3).normal(4, 4, 4) * path.sigma(path.grid(8)[:1]).float()

    def network(x, t):
        return transformer(x, timestep=t.expand(3), class_labels=labels).sample[:, :4]

    expected = _theirs(network, diffusers.DDIMScheduler.from_pretrained(tmp_path / "scheduler"), start, 8)
    torch.testing.assert_close(samples, expected, atol=1e-4, rtol=1e-4)


def test_a_network_of_classes_without_a_label_for_unknown_says_so(tmp_path):
    unet = diffusers.UNet2DModel(**UNET, num_class_embeds=3)
    diffusers.DDPMPipeline(unet, diffusers.DDIMScheduler()).save_pretrained(tmp_path)
    run = Run.load(tmp_path)
    assert run.sample(2, 1, steps=2).shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="given must be a class"):
        run.sample(2, steps=2)


def test_a_pipeline_is_not_tuned(tmp_path):
    _unconditional(tmp_path, beta_schedule="linear")
    with pytest.raises(ValueError, match="must be a model that can be tuned, got a pipeline of images"):
        fit(str(tmp_path), "digits", budget="2 steps")


def test_a_tabulated_path_is_consistent():
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64), 0)
    scheduler = {"_class_name": "DDIMScheduler", "num_train_timesteps": 100}
    path = Tabulated(tuple(bars.tolist()), json.dumps(scheduler))
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
    assert torch.isfinite(shorter(run.model).log_prob(x).nats).all()
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
    with pytest.raises(ValueError, match=r"must hold \.safetensors"):
        open_published(tmp_path)
