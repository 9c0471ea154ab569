"""The benchmark of clips: its reader looks at a digit wherever it is, and its shares are right."""

import sys
from pathlib import Path

import torch

from fourfold.core import configuration
from fourfold.paradigms import build
from fourfold.spaces import Categories, Images
from fourfold_video.space import Video

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import clips

SHAPE = torch.randint(1, 17, (9, 9), generator=torch.Generator().manual_seed(0))


def frame(row: int, column: int) -> torch.Tensor:
    empty = torch.zeros(32, 32, dtype=torch.uint8)
    empty[row : row + 9, column : column + 9] = SHAPE
    return empty


def test_a_window_is_the_same_wherever_the_digit_is_and_empty_for_an_empty_frame():
    corner, middle, edge, empty = clips.windows(
        torch.stack([frame(0, 23), frame(11, 12), frame(23, 5), 0 * frame(0, 0)])
    )
    assert torch.equal(corner, middle)
    assert torch.equal(edge, middle)
    assert middle.sum() * 4 * 16 == SHAPE.sum()
    assert empty.abs().max() < 1e-6


def test_shares_of_clips_and_frames():
    class Told:
        def frames(self, x):  # the class is the level
            return torch.nn.functional.one_hot(x[:, :, 0, 0].long(), 3).float()

    x = torch.tensor([[0, 0, 1], [2, 2, 2], [1, 1, 1], [2, 1, 1]])[..., None, None].to(torch.uint8)
    readings = clips.readings(Told(), x, torch.tensor([0, 2, 1, 2]))
    assert readings["clips misread"] == "25.0 % [4.6, 69.9] of 4"
    assert (readings["frames misread"], readings["frames unlike their clip"]) == ("25.0 %", "16.7 %")
    assert clips.readings(Told(), x, None)["clips misread"] == ""


def test_frames_as_channels_is_the_model_of_images():
    space = Video(3, 8, 8, 17, frames=3, given=Categories.numbered(10))
    images = build("diffusion", Images(3, 8, 8, 17, given=Categories.numbered(10)), size="xs")
    model = clips.as_channels("diffusion", space, "xs")
    assert configuration(model.estimand) == configuration(images.estimand)
    assert model.space == space
    assert model.training_defaults == images.training_defaults
    assert clips.named(model) == "diffusion, frames as channels"
    assert clips.named(build("autoregressive", space, size="xs")) == "autoregressive, frames in time, with copies"
