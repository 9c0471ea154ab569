"""Images given captions, through the frame: dropout, guidance, sampling, scoring, refusals, and learning from the
words.
"""

import pytest
import torch

from captions import encode_captions
from fourfold.core import GenerativeModel, forgetful, unknown
from fourfold.estimands.guidance import Guided
from fourfold.estimands.preconditioned import Preconditioned
from fourfold.maths.paths import EDM
from fourfold.nn.reading.texts import TextReading
from fourfold.nn.text_encoder import ByteEncoder
from fourfold.nn.unet import UNet
from fourfold.paradigms import build, recipes
from fourfold.paradigms.diffusion import Denoising
from fourfold.spaces import Categories, Images, Lines, Vectors
from shorter import shorter

SPACE = Images(3, 8, 8, given=Lines.of_bytes(16))
WORDS = ["red", "blue"]


def tiny():
    torch.manual_seed(0)
    net = UNet(3, (16, 16), (1, 1), 1, condition=32, reading=TextReading(ByteEncoder(17, 16, 1, 2)))
    return Preconditioned(net, (3, 8, 8), EDM(), 0.5)


def shaken(estimand):
    for p in estimand.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return estimand


def test_dropout_hides_whole_captions():
    torch.manual_seed(0)
    cond = encode_captions(["red heart"] * 2000, 16)
    hidden = forgetful(cond, 0.25)
    mask = unknown(hidden)
    assert torch.equal(hidden[~mask], cond[~mask])
    assert 0.2 < mask.float().mean() < 0.3
    assert torch.equal(forgetful(cond, 0.0), cond)
    assert unknown(forgetful(cond, 1.0)).all()
    labels = torch.arange(2000)
    assert forgetful(labels, 0.5).shape == labels.shape


def test_guidance_of_weight_zero_and_one():
    estimand = shaken(tiny())
    x, t, cond = torch.randn(4, 3, 8, 8), torch.full((4,), 0.7), encode_captions(["red", "blue", "a", ""], 16)
    conditional, unknown = estimand(x, t, cond), estimand(x, t, None)
    torch.testing.assert_close(Guided(estimand, 0.0)(x, t, cond), unknown, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(Guided(estimand, 1.0)(x, t, cond), conditional, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        Guided(estimand, 3.0)(x, t, cond), unknown + 3 * (conditional - unknown), atol=1e-4, rtol=1e-4
    )
    assert (conditional - unknown)[:3].abs().amax((1, 2, 3)).min() > 1e-4


def test_a_text_a_list_and_bytes_mean_the_same():
    model = shorter(build("diffusion", SPACE, "xs").eval())
    shaken(model.estimand)
    images = model.sample(3, "red heart", seed=1)
    assert torch.equal(images, model.sample(3, ["red heart"] * 3, seed=1))
    assert torch.equal(images, model.sample(3, encode_captions(["red heart"] * 3, 16), seed=1))
    assert torch.equal(model.sample(3, "", seed=1), model.sample(3, seed=1))
    assert not torch.equal(images, model.sample(3, "blue", seed=1))
    a, b = model.log_prob(images, "red heart", seed=2).nats, model.log_prob(images, ["red heart"] * 3, seed=2).nats
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "cond", [3, torch.tensor([1, 2]), ["red", "blue", "a"], [1, 2], torch.full((2, 18), 97), torch.full((2, 4), 300)]
)
def test_what_is_no_caption_is_refused(cond):
    with pytest.raises(ValueError, match=r"condition must be|ids must be at most 256"):
        build("diffusion", SPACE, "xs").sample(2, cond)


def test_other_refusals():
    with pytest.raises(ValueError, match="at most 16 bytes, got 17"):
        build("diffusion", SPACE, "xs").sample(1, "a" * 17)
    with pytest.raises(ValueError, match="class must be one of 0, 1, 2, got 'red'"):
        build("diffusion", Images(3, 8, 8, given=Categories.numbered(3)), "xs").sample(1, "red")
    with pytest.raises(ValueError, match="unconditional"):
        build("diffusion", Vectors(2), "xs").sample(1, "red")


def test_most_recipes_of_images_read_captions():
    able = []
    for name in recipes():
        try:
            build(name, SPACE, "xs")
        except TypeError:
            continue
        able.append(name)
    assert {"adversarial", "autoregressive", "diffusion", "diffusion/dit", "energy", "flow", "latent-variable"} <= {
        *able
    }


def test_it_learns_what_a_word_means():
    """Images of one colour, named by it: after training, the denoiser of pure noise returns the colour that it is
    told.
    """
    model = build("diffusion", SPACE, "xs")
    model = GenerativeModel(
        SPACE, model.codec, tiny(), Denoising(mean=1.0, label_dropout=0.1), model.sampler, model.likelihood
    )
    colours = torch.tensor([[200, 30, 30], [30, 30, 200]], dtype=torch.uint8)[:, :, None, None].expand(2, 3, 8, 8)
    codes = encode_captions(WORDS, 16)
    (term,) = model.terms().values()
    optimizer = torch.optim.Adam(term.trainable(), 1e-2)
    for _ in range(60):
        which = torch.randint(2, (16,))
        optimizer.zero_grad()
        term(model.encode(colours[which], codes[which])).mean().backward()
        optimizer.step()
    x = model.sample(2, WORDS).float().mean((2, 3))
    assert x[0, 0] > x[0, 2] + 60
    assert x[1, 2] > x[1, 0] + 60
