"""Paradigms and spaces from outside: one file each, found by its entry point, with every check, command and report."""

import math
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import fourfold
from fourfold import checks
from fourfold.core.conditions import Batch
from fourfold.data import Density, load, read_all
from fourfold.data.densities import GaussianMixture
from fourfold.extensions import extensions
from fourfold.main import run
from fourfold.metrics import Measurement
from fourfold.paradigms import build, cards, recipes
from fourfold.spaces import Categories, Images, Together, Vectors
from fourfold.tasks.evaluation import examples

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """What ``pip install ./examples/NAME`` leaves behind: the module and a record of its entry points, on the path of
    this process and of those that it starts."""

    def leave(name):
        record = tmp_path / "site" / f"fourfold_{name}-0.1.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fourfold-{name}\nVersion: 0.1\n")
        project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        points = "".join(
            f"[{group}]\n" + "".join(f"{point} = {value}\n" for point, value in named.items())
            for group, named in project["entry-points"].items()
        )
        (record / "entry_points.txt").write_text(points)
        paths = [str(tmp_path / "site"), str(EXAMPLES / name)]
        for path in paths:
            monkeypatch.syspath_prepend(path)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        monkeypatch.chdir(tmp_path)
        cards.cache_clear()
        extensions.cache_clear()
        return tmp_path

    yield leave
    cards.cache_clear()
    extensions.cache_clear()


def call(*words):
    return run([str(word) for word in words], False)


def lines(name):
    code = (EXAMPLES / name / f"fourfold_{name}.py").read_text(encoding="utf-8").splitlines()
    return sum(bool(line.strip()) for line in code)


# --- a paradigm -------------------------------------------------------------------------------------------------------


def test_a_paradigm_is_found_checked_trained_and_loaded(install):
    install("mixture")
    assert "mixture" in cards()
    assert "mixture" in recipes()
    for space in (Vectors(3), Vectors(2, given=Categories.numbered(3))):
        torch.manual_seed(0)
        checks.check_model(build("mixture", space, "xs"))
    with pytest.raises(TypeError, match="Images"):
        build("mixture", Images(1, 8, 8), "xs")
    data = load("gaussian-mixture", limit=2000)
    run = fourfold.fit("mixture", data, budget="300 steps", size="xs", precision="float32", out="run")
    again = fourfold.Run.load("run")
    x = data.test.x[:100]
    assert torch.equal(again.log_prob(x).nats, run.log_prob(x).nats)
    truth, nats = data.density.log_prob(x).mean(), run.log_prob(x).nats.mean()
    assert truth - 0.5 < nats <= truth + 0.2


def test_the_command_line_and_the_report_know_a_paradigm(install, capsys):
    folder = install("mixture")
    assert call("info") == 0
    assert "mixture" in capsys.readouterr().out
    words = ("--paradigms", "mixture", "--budget", "50 steps", "--size", "xs", "--precision", "float32", "-n", 64)
    assert call("compare", "two-moons", *words, "--limit", 1000, "--out", "report.html") == 0
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "mixture" in report
    row = report.partition("<b>idle components</b>")[2].partition("</tr>")[0]
    assert "kl " in row  # its own monitor, with its own threshold
    assert "watch above 0.5, bad above 1.5" in row
    assert lines("mixture") < 80


def test_a_paradigm_that_cannot_be_imported_is_named(install, capsys):
    folder = install("mixture")
    points = folder / "site" / "fourfold_mixture-0.1.dist-info" / "entry_points.txt"
    points.write_text("[fourfold.paradigms]\nbroken = no_such_module_of_mixtures\n")
    assert call("info", "flow") in (1, 2)
    assert "no_such_module_of_mixtures must be importable" in capsys.readouterr().err


# --- a space ----------------------------------------------------------------------------------------------------------


class WrappedMixture(Density):
    """A mixture of Gaussians, wrapped round a torus: its clusters lie across the seams, and its angles are
    dependent.
    """

    def __init__(self):
        self.mixture = GaussianMixture(
            [0.6, 0.4],
            [[math.pi, 0.5], [0.0, -math.pi]],
            [[[0.4, 0.3], [0.3, 0.4]], [[0.2, -0.1], [-0.1, 0.3]]],
        )
        turns = 2 * math.pi * torch.arange(-2, 3)
        self.turns = torch.cartesian_prod(turns, turns)

    def log_prob(self, x, cond=None):
        return torch.stack([self.mixture.log_prob(x + turn) for turn in self.turns]).logsumexp(0)

    def sample(self, n, seed):
        """As they come: some angles lie outside of one turn."""
        return self.mixture.sample(n, torch.Generator().manual_seed(seed))[0].float()


@pytest.fixture
def angles(install):
    """The module of the torus, and 3,000 angles of which the density is known."""
    install("torus")
    import fourfold_torus

    density = WrappedMixture()
    data = load(density.sample(3000, 0), space=fourfold_torus.Torus(2, ("phi", "psi")))
    return fourfold_torus, replace(data, density=density)


def grid(points=120):
    axis = 2 * math.pi / points * torch.arange(points) - math.pi
    return torch.cartesian_prod(axis, axis), (2 * math.pi / points) ** 2


def mass(nats, cell):
    return float(nats.double().exp().sum()) * cell


def test_a_space_of_angles_passes_every_check(angles):
    module, _ = angles
    assert lines("torus") < 100
    for dim in (1, 2, 5):
        checks.check_space(module.Torus(dim))
    for recipe in ("autoregressive", "torus"):
        torch.manual_seed(0)
        checks.check_model(build(recipe, module.Torus(3), "xs"))
    with pytest.raises(TypeError, match="torus models angles, not real vectors of 2 columns"):
        build("torus", Vectors(2), "xs")
    with pytest.raises(ValueError, match=r"space\.conform"):
        module.Torus(2).check(torch.tensor([[0.0, 3.2]]))


def test_a_density_of_angles_has_no_seam_and_integrates_to_one(angles):
    """By the trapezoidal rule, which converges faster than any power for periodic functions."""
    module, data = angles
    x, cell = grid()
    assert abs(mass(data.density.log_prob(x), cell) - 1) < 1e-6
    torch.manual_seed(0)
    untrained = build("autoregressive", module.Torus(2), "s")
    assert abs(mass(untrained.log_prob(x).nats, cell) - 1) < 1e-4
    run = fourfold.fit("autoregressive", data, budget="150 steps", size="xs", precision="float32")
    assert abs(mass(run.log_prob(x).nats, cell) - 1) < 1e-3
    edge = torch.tensor([[-math.pi, 0.5], [0.3, -math.pi]])
    same = run.model.log_prob(edge).nats - run.model.log_prob(edge.where(edge > -3.14, math.pi)).nats
    assert same.abs().max() < 1e-4
    difference = run.log_prob(data.test.x).nats.double() - data.density.log_prob(data.test.x)
    assert -0.2 < difference.mean() < 0.1
    turned = run.log_prob(data.test.x + 2 * math.pi).nats
    assert torch.allclose(turned, run.log_prob(data.test.x).nats, atol=1e-3)


def test_angles_are_a_condition_and_have_conditions_at_once(angles):
    """A point on a circle given its angle, and the angle given the point: both are nearly certain after training."""
    module, _ = angles
    given = module.Torus(1)
    angle = given.examples(2000, torch.Generator().manual_seed(0))
    point = torch.cat([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(2000, 2)
    x, y = angle[:200], point[:200]
    for name, space, target, cond in (
        ("flow/maf", Vectors(2, given=given), point, angle),
        ("autoregressive", module.Torus(1, given=Vectors(2)), angle, point),
    ):
        torch.manual_seed(0)
        model = build(name, space, "xs")
        model.fit_statistics(target, cond)
        optimiser = torch.optim.Adam(model.parameters(), 5e-3)
        term = model.terms()["likelihood"]
        for _ in range(150):
            rows = torch.randint(2000, (256,))
            loss = term(Batch(model.codec.encode(target[rows])[0], cond[rows])).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        model.eval()
        gain = model.log_prob(target[:200], cond[:200]).nats - model.log_prob(target[:200], cond[:200].flip(0)).nats
        assert gain.mean() > 1
        drawn = model.sample(200, cond[:200])
        if space.given == given:
            assert (drawn - torch.cat([x.cos(), x.sin()], 1)).norm(dim=1).median() < 0.4
        else:
            assert module.wrapped(drawn - torch.atan2(y[:, 1:], y[:, :1])).abs().median() < 0.4
    space = Together((given, Categories(("a", "b"))))
    x = space.conditions((torch.tensor([4.0]), "b"), 2)  # brought into a turn, as the space does
    assert torch.allclose(x[:, 0], torch.tensor(4 - 2 * math.pi))


def test_measures_of_angles_tell_wrong_samples_and_see_no_seam(angles):
    module, data = angles
    references = examples(data, 300)

    def headline(x: torch.Tensor) -> Measurement:
        return next(data.space.measures(x, references))

    right = headline(data.space.conform(data.density.sample(300, 7)))
    assert right.value <= right.floor_high
    uniform = data.space.examples(300, torch.Generator().manual_seed(0))
    shuffled = data.train.x[:300].clone()
    shuffled[:, 1] = shuffled[:, 1].flip(0)  # each angle alone is right
    for wrong in (uniform, shuffled, data.space.conform(data.train.x[:300] + 1)):
        assert headline(wrong).low > right.floor_high
    across = torch.full((300, 2), -math.pi) + 1e-4
    seam = module.Circles()
    assert torch.cdist(seam(across[:1]), seam(-across[:1])).item() < 1e-3


def test_angles_are_compared_sampled_scored_and_evaluated(angles, tmp_path, capsys):
    _, data = angles
    words = {"budget": "150 steps", "size": "xs", "precision": "float32", "n": 200, "sweep": False, "progress": False}
    comparison = fourfold.compare(
        data, paradigms=["torus", "autoregressive"], **words, runs_dir="runs", out="report.html"
    )
    dependent, independent = comparison.entries
    assert (dependent.name, independent.name) == ("autoregressive", "torus")  # by their exact likelihoods
    assert dependent.likelihood.low > independent.likelihood.high
    assert dependent.headline.high < independent.headline.low
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('class="dots') == 5 + 2 * 3  # the data, twice samples over it, and three choices of each model
    assert "no picture" not in page
    assert f"{comparison.truth:.2f}".replace("-", "−") in page
    run = dependent.outcomes[0].folder / "run"
    np.savetxt("angles.csv", data.density.sample(40, 3).numpy(), delimiter=",", header="phi,psi", comments="")
    assert call("sample", run, "-n", 5) == 0
    assert torch.allclose(read_all(run / "samples.csv", data.space)[0].x, fourfold.Run.load(run).sample(5), atol=1e-5)
    capsys.readouterr()
    assert call("score", run, "angles.csv") == 0
    assert "log p(x)" in capsys.readouterr().out
    assert call("evaluate", run, "angles.csv", "-n", 16) == 0
    assert "mmd²[circles, gaussian]" in capsys.readouterr().out
    (tmp_path / "three.csv").write_text("a,b,c\n1,2,3\n")
    assert call("score", run, "three.csv") == 2
    assert "must have the column 'phi' of the model" in capsys.readouterr().err


def test_the_command_line_chooses_a_space_by_its_name(angles, tmp_path, capsys):
    module, data = angles
    raw = data.density.sample(400, 3)
    np.savetxt("angles.csv", raw.numpy(), delimiter=",", header="phi,psi", comments="")
    words = ("--budget", "3 steps", "--size", "xs", "--precision", "float32")
    assert call("fit", "autoregressive", "angles.csv", "--space", "torus", *words, "--out", "run") == 0
    run = fourfold.Run.load("run")
    assert run.model.space == module.Torus(2, ("phi", "psi"))
    assert run.card["data"]["options"]["space"] == "torus"
    for words in (("fit", "--resume", "run", "--budget", "5 steps"), ("evaluate", "run", "-n", 16), ("score", "run")):
        assert call(*words) == 0, words
    assert len(run.dataset().train) + len(run.dataset().test) + len(run.dataset().validation) == 400
    assert call("fit", "--resume", "run", "--space", "vectors") == 2
    assert "space must be torus, as in run, got vectors; leave it out" in capsys.readouterr().err
    assert call("data", "angles.csv", "--space", "torus") == 0
    assert "examples of Torus of shape (2,)" in capsys.readouterr().out


def test_a_space_by_name_reads_what_it_can(angles):
    module, data = angles
    raw = data.density.sample(60, 3)
    found = load(raw, space="torus")
    assert torch.equal(
        torch.cat([part.x for part in (found.train, found.validation, found.test)]).sort(0).values,
        module.wrapped(raw).sort(0).values,
    )
    assert load("gaussian-mixture", limit=100, space="torus").density is None  # the wrapped points have another one
    assert load("gaussian-mixture", limit=100, space="vectors").density is not None
    labels = np.repeat([0, 1, 2], 20)
    assert load(raw, labels=labels, space="vectors", given="labels").space.given.count == 3
    assert load(raw, labels=labels, space="torus", given="labels").space.given.count == 3
    with pytest.raises(ValueError, match=r"digits: holds grey images of 8 x 8 .*, which cannot be read as Torus"):
        load("digits", space="torus")
    with pytest.raises(
        ValueError, match=r"space must be one of .*categories, .*torus, .*got 'thorus'; did you mean 'torus'\?"
    ):
        load(raw, space="thorus")


def test_an_entry_point_that_is_not_a_space_is_refused(install, tmp_path):
    install("torus")
    (tmp_path / "site" / "fourfold_torus-0.1.dist-info" / "entry_points.txt").write_text(
        "[fourfold.spaces]\nring = fourfold_torus:Angles\n"
    )
    with pytest.raises(
        ValueError, match=r"fourfold_torus:Angles must be a Space, since the entry point 'ring' of 'fourfold.spaces'"
    ):
        load("wine", space="ring")
