"""Models trained here as pipelines of diffusers: the library's own network and scheduler are the oracle."""

from __future__ import annotations

import pytest
import torch

from fourfold import Run, build, fit
from fourfold.core import GenerativeModel, Noise, view
from fourfold.estimands import Denoiser
from fourfold.estimands.preconditioned import SteppedNoise
from fourfold.nn.ddpm_unet import DDPMUNet
from fourfold.samplers.ode import DDIM
from fourfold.spaces import Categories, Images, Vectors
from fourfold_published.pipelines import write_pipeline

pytestmark = pytest.mark.published
diffusers = pytest.importorskip("diffusers")

RECIPES = ("diffusion/ddpm", "diffusion/ddpm-velocity")


def _model(recipe, space, seed=0):
    """A model whose every weight is random: the zeros of the start would hide a tensor in the wrong place."""
    torch.manual_seed(seed)
    model = build(recipe, space, "xs").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("label", [-1, 2])
def test_the_network_says_the_same_in_the_library(tmp_path, recipe, label):
    model = _model(recipe, Images(3, 8, 12, given=Categories.numbered(4)))
    unet = diffusers.UNet2DModel.from_pretrained(write_pipeline(model, tmp_path, label) / "unet").eval()
    x, t = torch.randn(5, 3, 8, 12), torch.tensor([1.0, 0.7, 0.25, 0.1, 0.001])
    with torch.no_grad():
        output = model.estimand(x, t, torch.full((5,), label))
        expected = unet(x, 1000 * t - int(recipe == "diffusion/ddpm")).sample
    torch.testing.assert_close(output, expected, atol=1e-4, rtol=1e-4)
    assert expected.abs().mean() > 0.05


@pytest.mark.parametrize("widths", [(8,), (8, 24, 16)])
@pytest.mark.parametrize("layers", [1, 3])
def test_networks_of_every_depth_are_written(tmp_path, widths, layers):
    model = build("diffusion/ddpm", Images(1, 8, 8), "xs")
    net = DDPMUNet(1, widths, layers)
    estimand = SteppedNoise(net, (1, 8, 8), model.estimand.path)
    model = GenerativeModel(model.space, model.codec, estimand, model.objective, model.sampler, model.likelihood)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    unet = diffusers.UNet2DModel.from_pretrained(write_pipeline(model, tmp_path) / "unet").eval()
    x, step = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 400.0])
    with torch.no_grad():
        torch.testing.assert_close(net(x, step), unet(x, step).sample, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_library_draws_from_what_was_trained(tmp_path, recipe):
    run = fit(recipe, "digits", budget="5 steps", size="xs")
    folder = write_pipeline(run.model, tmp_path / "folder")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(batch_size=3, num_inference_steps=4, output_type="np", generator=torch.Generator().manual_seed(0))
    start = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    again = Run.load(folder).model

    class Given(Noise):
        def normal(self, *shape):
            return start / again.estimand.path.sigma(again.estimand.path.grid(4)[:1]).float()

    with torch.no_grad():
        estimand = view(again.estimand, Denoiser) if recipe == "diffusion/ddpm" else again.estimand
        x = type(again.sampler)(4)(estimand, Given(0, 0, 3))
    expected = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert abs(drawn.images - expected).max() < 1e-4
    assert type(pipeline).__name__ == ("DDIMPipeline" if recipe == "diffusion/ddpm" else "DDPMPipeline")


def test_the_exported_steps_have_the_noise_levels_of_the_run(tmp_path):
    model = _model("diffusion/ddpm", Images(1, 8, 8))
    path = Run.load(write_pipeline(model, tmp_path)).model.estimand.path
    step = torch.arange(1, 1001, dtype=torch.float64)
    torch.testing.assert_close(path.alpha(step), model.estimand.path.alpha(step / 1000), atol=1e-5, rtol=1e-5)
    assert isinstance(model.sampler, DDIM)


def test_what_cannot_be_exported_says_what_can(tmp_path):
    for recipe, space in (("diffusion", Images(1, 8, 8)), ("diffusion", Vectors(2)), ("adversarial", Images(1, 8, 8))):
        with pytest.raises(TypeError, match="of images by diffusion/ddpm or diffusion/ddpm-velocity"):
            write_pipeline(build(recipe, space, "xs"), tmp_path)
    with pytest.raises(ValueError, match="label must be a class below 4, got 4"):
        write_pipeline(_model("diffusion/ddpm", Images(1, 8, 8, given=Categories.numbered(4))), tmp_path, 4)
    with pytest.raises(TypeError, match="must be Images for this recipe, got Vectors"):
        build("diffusion/ddpm", Vectors(2), "xs")
    assert not any(tmp_path.iterdir())
