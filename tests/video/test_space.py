"""Clips: the public checks, the data that fit, the measures, and run folders written before the space moved."""

import pytest
import torch

import fourfold
from fourfold import checks
from fourfold.core import configuration, construct
from fourfold.metrics import References
from fourfold.metrics.floor import Draws
from fourfold.paradigms import build
from fourfold.spaces import Images
from fourfold.spaces.registry import space_named
from fourfold_video.networks import VideoUNet
from fourfold_video.space import Video


def test_clips_keep_the_promises_of_a_space():
    checks.check_space(Video(6, 5, 4, 17, frames=2))


def test_clips_are_found_by_their_names():
    assert fourfold.Video is space_named("video") is Video


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        (Video(6, 2, 2, 9, frames=2), True),
        (Video(6, 2, 2, frames=6), False),
        (Images(6, 2, 2), True),
        (Images(6, 2, 3), False),
    ],
    ids=repr,
)
def test_clips_of_as_many_frames_fit_and_arrays_of_their_shape(other, fits):
    assert Video(6, 2, 2, frames=2).fits(other) == fits


def test_the_headline_tells_a_wrong_sample_from_a_right_one():
    space, n = Video(3, 8, 8, frames=3), 100
    noise = space.examples(5 * n, torch.Generator().manual_seed(0))
    good = (noise.double().mean((2, 3), keepdim=True).expand(noise.shape) + noise % 3).to(torch.uint8)
    rows = torch.stack([torch.randperm(2 * n, generator=torch.Generator().manual_seed(i))[:n] for i in range(10)])
    reference = References(Draws(good[: 2 * n], rows), good[2 * n : 3 * n], None, good[3 * n : 4 * n], good[: 4 * n])
    right, wrong = (next(space.measures(x[4 * n :], reference)) for x in (good, noise))
    assert right.better == "lower"
    assert right.value <= max(right.floor_high, 1e-9)
    assert wrong.low > right.floor_high
    names = [score.name.partition("[")[0] for score in space.measures(good[4 * n :], reference)]
    assert names == [
        *("frechet_distance", "precision", "recall", "density", "coverage"),
        *("frechet_distance", "detail_ratio", "motion_ratio", "memorisation_ratio"),
    ]


def test_a_folder_that_names_the_addresses_of_earlier_versions_is_read():
    model = build("diffusion", Video(4, 8, 8, n_values=17, frames=4), "xs")
    named = str(configuration(model.space)) + str(configuration(model.estimand))
    assert "fourfold_video.space:Video" in named
    assert "fourfold_video.networks:VideoUNet" in named
    space = {**configuration(model.space), "type": "fourfold.spaces:Video"}
    net = {**configuration(model.estimand.net), "type": "fourfold.nn.video_unet:VideoUNet"}
    assert construct(space) == model.space
    assert isinstance(construct(net), VideoUNet)
