"""Autoregressive models of clips: masses, drawing against scoring, the past of a frame, the loss of a few frames."""

import pytest
import torch

from fourfold import checks
from fourfold.core import Batch, Noise
from fourfold.nn.causal import CausalConvNet
from fourfold.nn.reading.labels import LabelReading
from fourfold.paradigms import build, resolve
from fourfold.paradigms.autoregressive import Ancestral, MaximumLikelihood
from fourfold.paradigms.pixels import PixelConditionals
from fourfold.spaces import Categories, Images
from fourfold_video.paradigm import FrameLikelihood
from fourfold_video.space import Video


def conditionals(frames: int, past: int, colours: int = 1, side: int = 3, classes: int | None = None):
    torch.manual_seed(0)
    earlier_colours = (past + (colours > 1)) * colours
    reading = None if classes is None else LabelReading(classes)
    more = {"planes": earlier_colours, "reader": 8, "reader_depth": 1, "moved": 1, "overall": True}
    net = CausalConvNet(3, side, side, 8, 8, 1, 8, 1, kinds=colours, reading=reading, **more)
    for p in net.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    return PixelConditionals(net, frames * colours, colours, past).eval()


@pytest.mark.parametrize("space", [Video(3, 1, 2, 2, frames=3), Video(6, 1, 1, 2, frames=2)], ids=["grey", "colour"])
def test_the_masses_of_all_clips_sum_to_one(space):
    model = build("autoregressive", space, size="xs").eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    everything, _ = space.support(0, 0.0)
    nats = model.log_prob(everything).nats.double()
    assert nats.std() > 0.1
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-4)


@torch.no_grad()
def test_the_masses_of_all_clips_sum_to_one_given_a_picture():
    given = Images(1, 4, 4, n_values=17)
    model = build("autoregressive", Video(3, 1, 2, 2, frames=3, given=given), "xs").eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    everything, _ = model.space.support(0, 0.0)
    pictures = given.examples(2, torch.Generator().manual_seed(0)).to(torch.int16)
    nats = [model.log_prob(everything, cond=picture).nats.double() for picture in pictures]
    assert all(each.exp().sum().item() == pytest.approx(1, abs=1e-4) for each in nats)
    assert (nats[0] - nats[1]).abs().max() > 0.1


def test_frames_one_by_one_have_a_recipe_of_their_own():
    clips, images = Video(3, 4, 4, 5, frames=3), Images(3, 4, 4, 5)
    assert resolve("autoregressive", clips) == "autoregressive/frames"
    assert isinstance(build("autoregressive/likelihood", clips, "xs").objective, MaximumLikelihood)
    with pytest.raises(TypeError, match="Video"):
        build("autoregressive/frames", images, "xs")


def test_a_model_of_clips_passes_the_public_checks():
    checks.check_model(build("autoregressive", Video(6, 4, 4, 5, frames=2, given=Categories(tuple("abc"))), size="xs"))


@pytest.mark.parametrize(("colours", "classes"), [(1, None), (3, 2)])
@torch.no_grad()
def test_greedy_drawing_takes_the_likeliest_level_of_what_is_scored(colours, classes):
    model = conditionals(3, 2, colours, classes=classes)
    cond = None if classes is None else torch.tensor([0, 1])
    x = Ancestral(1e-4)(model, Noise(0, 0, 2), cond)
    own = model(x, cond)
    assert len(x.unique()) > 1
    for other in range(3):  # with the same past, no other level of any pixel is likelier
        changed = torch.stack([model(_with(x, i, other), cond)[:, i] for i in range(own.shape[1])], 1)
        assert (changed <= own + 1e-4).all()


def _with(x: torch.Tensor, place: int, level: int) -> torch.Tensor:
    flat = x.flatten(1).clone()
    flat[:, place] = level
    return flat.view(x.shape)


@torch.no_grad()
def test_a_frame_depends_on_those_of_its_past_alone_and_not_on_when_it_is():
    model, x = conditionals(6, 2), torch.randint(0, 3, (4, 6, 3, 3))
    nats = model(x).unflatten(1, (6, 9))
    changed = x.clone()
    changed[:, 1] = 2 - changed[:, 1]
    apart = (model(changed).unflatten(1, (6, 9)) - nats).abs().amax((0, 2)) > 1e-6
    assert apart.tolist() == [False, True, True, True, False, False]
    later = model(x.roll(1, 1)).unflatten(1, (6, 9))
    assert torch.allclose(later[:, 3:], nats[:, 2:5], atol=1e-5)  # two frames before it, the same ones


@pytest.mark.parametrize("colours", [1, 3])
@torch.no_grad()
def test_no_pixel_depends_on_a_later_one(colours):
    model, pixels = conditionals(3, 2, colours), 27 * colours
    x = torch.randint(0, 3, (1, 3 * colours, 3, 3))
    changed = torch.cat([_with(x, i, (x.flatten()[i] + 1) % 3) for i in range(pixels)])
    apart = (model(changed) - model(x)).abs() > 1e-5
    later = torch.ones(pixels, pixels, dtype=torch.bool).tril(-1)
    assert not apart[later].any()
    assert apart[~later].float().mean() > 0.5  # earlier ones matter


@torch.no_grad()
def test_a_plane_is_copied_from_its_own_colour_of_the_frame_before():
    model = conditionals(3, 2, 3)
    x, planes = torch.randint(0, 3, (1, 9, 3, 3)), torch.arange(9)[None]
    before = model._before(x, planes)
    assert (before[:3] == -1).all()
    assert torch.equal(before[3:], x[0, :6])
    model.net.displacement.head.bias[0] = 20.0  # the gate is open: nothing but copies
    still = torch.randint(0, 3, (1, 3, 1, 1)).expand(1, 3, 3, 3).repeat(1, 3, 1, 1)
    assert model(still)[0, 27:].view(6, 9)[:, 4].min() > -1e-3  # in the middle, nothing comes from beyond an edge
    assert model.of_planes(x, planes[:, :3]).shape == (1, 3, 9)  # first frames alone


@pytest.mark.parametrize("colours", [1, 3])
@torch.no_grad()
def test_the_loss_of_a_few_frames_has_the_mean_of_the_loss_of_all(colours):
    model = conditionals(4, 2, colours)
    x = torch.randint(0, 3, (2, 4 * colours, 3, 3))
    whole = MaximumLikelihood().terms(model)["likelihood"](Batch(x, None))
    every = FrameLikelihood(later=9).terms(model)["likelihood"](Batch(x, None))
    assert torch.allclose(every, whole, atol=1e-5)
    few = FrameLikelihood(later=1).terms(model)["likelihood"](Batch(x.repeat(600, 1, 1, 1), None)).view(600, 2)
    assert (few.std(0) > 0.01).all()
    assert ((few.mean(0) - whole).abs() < 4 * few.std(0) / 600**0.5).all()
