"""Models that show medians: draws of the distribution that is scored are one option away, and are measured beside
them.
"""

import dataclasses

import numpy as np
import pytest
import torch

from fourfold.core import Noise
from fourfold.data import load
from fourfold.distributions.observations import AsDraw, AsMean, AsMedian
from fourfold.engine import Run, fit
from fourfold.main import run
from fourfold.metrics import evaluate, examples
from fourfold.paradigms import build, recipes
from fourfold.paradigms.latent import PriorThenDecode
from fourfold.samplers import resampled
from fourfold.spaces import Categories, Images, Vectors
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.samples import draws_at
from fourfold.tournament.tournament import compare


def median_model(name="latent-variable"):
    torch.manual_seed(0)
    return build(name, Images(1, 8, 8, n_values=17), "xs").eval()


def test_the_variants_of_a_decoder_are_its_ways_to_observe():
    model = median_model()
    ways = model.variants()
    assert {name: variant.sampler for name, variant in ways.items()} == {
        "AsDraw": PriorThenDecode(AsDraw()),
        "AsMean": PriorThenDecode(AsMean()),
        "AsMedian": PriorThenDecode(AsMedian()),
    }
    assert torch.equal(ways["AsMedian"].sample(4), model.sample(4))
    assert ways["AsDraw"].estimand is model.estimand


def test_drawing_has_the_spread_of_the_model_where_medians_have_none():
    """A decoder that ignores its code: one median for all, and the observation model's own variance in draws."""
    model = median_model()
    for p in model.estimand.net.parameters():
        p.data.zero_()
    drawing = model.drawing()
    assert drawing is not None
    assert len(model.sample(50).unique(dim=0)) == 1
    x = drawing.sample(2000).double()
    observation = model.estimand(torch.zeros(1, *model.estimand.latent))
    points = [torch.full((1, 1, 8, 8), 2 * k / 16 - 1) for k in range(17)]
    masses = torch.stack([observation.log_masses(point) for point in points]).exp()
    values = torch.arange(17.0).reshape(-1, 1, 1, 1, 1)
    mean = (masses * values).sum(0)
    variance = (masses * (values - mean).square()).sum(0).double()
    assert torch.allclose(x.var(0).mean(), variance.mean(), rtol=0.03)


@pytest.mark.parametrize("name", recipes())
def test_a_model_that_shows_no_draws_says_so_and_has_a_variant_that_draws(name):
    for space in (
        Images(1, 8, 8, n_values=17),
        Images(1, 8, 8, n_values=17, given=Categories.numbered(2)),
        Vectors(3),
        Vectors(3, given=Categories.numbered(2)),
    ):
        try:
            model = build(name, space, "xs")
        except TypeError:
            continue
        shown = "not a draw" in model.facts.sampling
        drawing = model.drawing()
        assert shown == (drawing is not None)
        if drawing is not None:
            assert "not a draw" not in drawing.facts.sampling
            assert drawing.drawing() is None


@pytest.mark.parametrize("name", ["latent-diffusion", "latent-autoregressive", "latent-flow"])
def test_a_hybrid_draws_through_its_codec_with_the_same_weights(name):
    model = median_model(name)
    model.codec.fit(torch.randint(17, (64, 1, 8, 8), dtype=torch.uint8))
    drawing = model.drawing()
    assert drawing is not None
    assert drawing.codec.state_dict().keys() == model.codec.state_dict().keys()
    assert all(torch.equal(a, model.codec.state_dict()[key]) for key, a in drawing.codec.state_dict().items())
    shown, drawn = model.sample(8), drawing.sample(8)
    assert not torch.equal(shown, drawn)
    codes = model.sampler(model.estimand, Noise(0, 0, 8))
    # medians do not depend on the noise of decoding, draws do
    assert torch.equal(*(model.codec.decode(codes, Noise(seed, 0, 8)) for seed in (1, 2)))
    assert not torch.equal(*(drawing.codec.decode(codes, Noise(seed, 0, 8)) for seed in (1, 2)))
    x = torch.randint(17, (4, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(model.log_prob(x).nats, drawing.log_prob(x).nats)  # what is scored is the same


def test_a_sampler_or_a_way_to_show_is_chosen_by_name():
    model = median_model()
    assert resampled(model, "AsDraw").sampler == PriorThenDecode(AsDraw())
    with pytest.raises(ValueError, match=r"sampler must be one of AsDraw, AsMean, AsMedian.*, got 'nonsense'"):
        resampled(model, "nonsense")
    hybrid = median_model("latent-diffusion")
    assert resampled(hybrid, "Heun").sampler.steps == 18
    with pytest.raises(ValueError, match=r"AsDraw, AsMean, AsMedian, .*Heun"):
        resampled(hybrid, "nonsense")


def test_the_command_line_draws(tmp_path, capsys):
    fit("latent-variable", "digits", budget="2 steps", size="xs", precision="float32", out=tmp_path / "run")
    assert (
        run(["sample", str(tmp_path / "run"), "-n", "3", "--sampler", "AsDraw", "-o", str(tmp_path / "a.npy")], False)
        == 0
    )
    model = Run.load(tmp_path / "run").model
    assert np.array_equal(np.load(tmp_path / "a.npy"), model.drawing().sample(3).numpy())
    capsys.readouterr()
    assert run(["info", str(tmp_path / "run")], False) == 0
    assert "not a draw" in " ".join(capsys.readouterr().out.split())


def test_evaluate_tells_how_long_it_takes_and_stops_at_its_patience(monkeypatch):
    monkeypatch.setattr("fourfold.tasks.evaluation.LONG", 0.0)
    data = load("gaussian-mixture", limit=2500)
    model, said = build("diffusion", data.space, "xs"), []
    scores = {
        score.name: score for score in evaluate(model, data, n=200, likelihood_examples=4, seconds=0, say=said.append)
    }
    assert [line.startswith("drawing 200 samples takes about ") for line in said] == [True]
    assert said[0].endswith("; after 0 s no new batch begins")
    assert scores["evaluations_per_sample"].n == 64


def test_evaluate_measures_draws_beside_what_is_shown():
    data = load("digits", limit=400)
    model = build("latent-variable", data.space, "xs")
    scores = {score.name: score for score in evaluate(model, data, n=32, likelihood_examples=4)}
    assert {"frechet_distance[pixels]", "frechet_distance_of_draws[pixels]", "coverage_of_draws[pixels]"} <= set(scores)
    model = model.drawing()
    again = {score.name: score for score in evaluate(model, data, n=32, likelihood_examples=4)}
    assert not any("_of_draws" in name for name in again)
    assert again["frechet_distance[pixels]"].value == scores["frechet_distance_of_draws[pixels]"].value


def test_a_comparison_shows_both(tmp_path):
    data = load("digits", limit=400)
    comparison = compare(
        data, paradigms=["latent-variable"], budget="20 steps", size="xs", n=40, sweep=False,
        likelihood_examples=8, runs_dir=tmp_path / "runs", out=tmp_path / "report.html", progress=False,
    )  # fmt: skip
    (latent,) = comparison.entries
    drawn = latent.of_draws(latent.headline)
    assert drawn is not None
    assert drawn.n == latent.headline.n
    assert drawn.value != latent.headline.value
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "of draws" in page
    assert "recipe latent-variable/convolutional" in page
    assert "its draws" in str(comparison)
    # at fewer samples the draws are measured again, as everything else is
    outcome = latent.outcomes[0]
    benchmark = Benchmark(data, examples(data, 40), comparison.settings.protocol, 20)
    assert draws_at(outcome, benchmark)[0].n == 20
    assert draws_at(dataclasses.replace(outcome, result={**outcome.result, "draws": []}), benchmark) == []
