import gzip
import math
import sys

import pytest
import torch

from fashion_files import write_fashion
from fourfold.data import DataError, builtin, load, names
from fourfold.data.builtin import CLOTHES
from fourfold.spaces import Categories, Images, Table, Text, Vectors

SAMPLED = ["two-moons", "eight-gaussians", "pinwheel", "checkerboard", "gaussian-mixture"]


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without Fashion-MNIST, without torchvision."""
    monkeypatch.delenv("FOURFOLD_DATA", raising=False)
    monkeypatch.setattr(builtin, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(builtin, "CACHE", tmp_path / "cache")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)


def test_names():
    assert set(names()) >= {
        *SAMPLED,
        "digits",
        "fashion-mnist",
        "breast-cancer",
        "wine",
        "penguins",
        "python-docs",
    }
    assert all(source.__doc__ for source in builtin.builtin_sets().values())


@pytest.mark.parametrize("name", [name for name in names() if name not in ("fashion-mnist", "penguins", "python-docs")])
def test_every_split_belongs_to_its_space(name):
    data = load(name, given="labels")
    for split in (data.train, data.validation, data.test):
        data.space.check(split.x)
        assert split.cond.dtype == torch.int64
        assert split.cond.shape == (len(split),)
        assert sorted(set(split.cond.tolist())) == list(range(data.space.given.count))
    assert data.space.given.names == data.given.names
    assert load(name).train.cond is None
    assert load(name).space.given is None


def test_digits():
    data = load("digits")
    assert data.space == Images(1, 8, 8, n_values=17)
    assert len(whole(data)) == 1797
    assert whole(data).max() == 16


@pytest.mark.parametrize(("name", "rows", "columns"), [("breast-cancer", 569, 30), ("wine", 178, 13)])
def test_tables(name, rows, columns):
    data = load(name)
    assert isinstance(data.space, Vectors)
    assert len(data.space.columns) == data.space.dim == columns
    assert whole(data).shape == (rows, columns)


def test_penguins_are_a_table_with_gaps_whose_target_may_be_named():
    data = load("penguins", target="species")
    assert isinstance(data.space, Table)
    assert data.space.target == "species"
    assert (len(whole(data)), data.space.dims) == (344, 8)
    assert [column.missing for column in data.space.modelled] == [False, False, True, True, True, True, True, False]
    with pytest.raises(DataError, match="n_values must be left out for penguins"):
        load("penguins", n_values=3)


def test_python_docs():
    data = load("python-docs", length=64)
    assert isinstance(data.space, Text)
    assert data.space.length == 64
    assert data.train.x.ndim == 1
    assert len(whole(data)) > 300_000
    assert "The " in data.space.show(data.train.x[:10_000])


# --- sampled sets: their own statistics -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_sets_follow_the_seed(name):
    assert torch.equal(load(name, seed=1).train.x, load(name, seed=1).train.x)
    assert load(name, seed=1).digest != load(name, seed=2).digest
    assert len(whole(load(name, limit=500))) == 500


def test_two_moons_lie_on_their_circles():
    data = load("two-moons", given="labels")
    x, moon = data.train.x.double(), data.train.cond
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.5]]).double()[moon]
    radius = (x - centre).norm(dim=1)
    assert radius.mean().item() == pytest.approx(1.005, abs=0.005)
    assert (radius - 1).std().item() == pytest.approx(0.1, abs=0.005)
    height = (x - centre)[:, 1] * (1 - 2 * moon)
    assert height.mean().item() == pytest.approx(2 / math.pi, abs=0.01)
    assert moon.double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_eight_gaussians():
    data = load("eight-gaussians", given="labels")
    for k in range(8):
        x = data.train.x[data.train.cond == k].double()
        centre = torch.tensor([2 * math.cos(k * math.pi / 4), 2 * math.sin(k * math.pi / 4)]).double()
        torch.testing.assert_close(x.mean(0), centre, atol=0.03, rtol=0)
        torch.testing.assert_close(x.T.cov(), 0.04 * torch.eye(2).double(), atol=0.004, rtol=0)


def test_gaussian_mixture():
    data = load("gaussian-mixture", given="labels")
    mixture = data.density
    for k in range(4):
        x = data.train.x[data.train.cond == k].double()
        assert len(x) / len(data.train) == pytest.approx(mixture.weights[k].item(), abs=0.015)
        torch.testing.assert_close(x.mean(0), mixture.means[k], atol=0.06, rtol=0)
        torch.testing.assert_close(x.T.cov(), mixture.covariances[k], atol=0.06, rtol=0)


def test_checkerboard_fills_the_dark_squares_evenly():
    data = load("checkerboard", given="labels")
    cells = (whole(data) / 2 + 2).floor().long()
    assert ((cells >= 0) & (cells < 4)).all()
    assert (cells.sum(1) % 2 == 0).all()
    counts = torch.bincount(cells[:, 0] * 4 + cells[:, 1], minlength=16)
    assert (counts > 0).sum() == 8
    assert (counts[counts > 0] / 20_000 - 1 / 8).abs().max() < 0.01
    within = whole(data) / 2 % 1
    assert within.mean().item() == pytest.approx(0.5, abs=0.01)
    assert data.density.log_prob(data.train.x, data.train.cond).eq(-math.log(4.0)).all()


def test_pinwheel_arms_are_rotations_of_each_other():
    data = load("pinwheel", given="labels")
    x, arm = data.train.x.double(), data.train.cond
    angle = -2 * math.pi / 5 * arm.double()
    turned = torch.stack(
        [angle.cos() * x[:, 0] - angle.sin() * x[:, 1], angle.sin() * x[:, 0] + angle.cos() * x[:, 1]], 1
    )
    means = torch.stack([turned[arm == k].mean(0) for k in range(5)])
    torch.testing.assert_close(means, means.mean(0).expand(5, 2), atol=0.05, rtol=0)
    # Bending keeps lengths: |x| / 2 is the length of (1 + 0.3 a, 0.1 b) for standard normal a and b.
    assert (x / 2).pow(2).sum(1).mean().item() == pytest.approx(1 + 0.3**2 + 0.1**2, abs=0.02)


@pytest.mark.parametrize("name", ["eight-gaussians", "gaussian-mixture", "checkerboard"])
def test_exact_densities_integrate_to_one(name):
    density = load(name, limit=100).density
    line = torch.linspace(-8, 8, 801, dtype=torch.float64) + 0.003
    x = torch.cartesian_prod(line, line)
    cell = (line[1] - line[0]).item() ** 2
    assert density.log_prob(x).exp().sum().item() * cell == pytest.approx(1, abs=6e-3)
    for k in (0, 3):
        cond = torch.full((len(x),), k)
        assert density.log_prob(x, cond).exp().sum().item() * cell == pytest.approx(1, abs=6e-3)


@pytest.mark.parametrize("name", ["eight-gaussians", "gaussian-mixture", "checkerboard"])
def test_exact_densities_describe_their_samples(name):
    # E[1/p(x); x in a box] under p is the area of the box's part where p > 0.
    data = load(name)
    x, p = data.train.x, data.density.log_prob(data.train.x)
    assert p.dtype == torch.float64
    middle = (x - data.train.x.mean(0)).abs().amax(1) < 3
    inside = p > math.log(0.01)
    area = (torch.exp(-p) * (middle & inside)).mean().item()
    line = torch.linspace(-10, 10, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    box = ((grid - data.train.x.mean(0)).abs().amax(1) < 3) & (data.density.log_prob(grid) > math.log(0.01))
    assert area == pytest.approx(box.sum().item() * 0.02**2, rel=0.04)


# --- Fashion-MNIST ----------------------------------------------------------------------------------------------------


def test_fashion_mnist_keeps_its_official_test_set(nowhere, tmp_path):
    folder = write_fashion(tmp_path / "f")
    data = load("fashion-mnist", data_dir=folder, given="labels", seed=5)
    assert data.space == Images(1, 28, 28, given=Categories(CLOTHES))
    assert (len(data.train), len(data.validation), len(data.test)) == (55, 5, 30)
    assert torch.equal(data.test.x[:, 0], torch.tensor(builtin.read_idx(folder / "t10k-images-idx3-ubyte.gz")))
    assert data.test.cond.tolist() == [i % 10 for i in range(30)]
    assert data.source == str(folder)


@pytest.mark.parametrize("sub", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_fashion_mnist_by_environment(nowhere, tmp_path, monkeypatch, sub):
    write_fashion(tmp_path / "f" / sub)
    monkeypatch.setenv("FOURFOLD_DATA", str(tmp_path / "f"))
    assert len(load("fashion-mnist").test) == 30


def test_fashion_mnist_by_debian_package(nowhere, tmp_path):
    write_fashion(tmp_path / "debian")
    assert len(load("fashion-mnist").test) == 30


def test_fashion_mnist_by_torchvision(nowhere, tmp_path, monkeypatch):
    class FashionMNIST:
        def __init__(self, root, download):
            write_fashion(tmp_path / "cache" / "FashionMNIST" / "raw")
            assert download
            assert root == str(tmp_path / "cache")

    module = type(sys)("torchvision.datasets")
    module.FashionMNIST = FashionMNIST
    monkeypatch.setitem(sys.modules, "torchvision", type(sys)("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    assert len(load("fashion-mnist").test) == 30


def test_without_fashion_mnist_all_four_ways_are_named(nowhere):
    with pytest.raises(DataError, match=r"(?s)--data-dir.*FOURFOLD_DATA.*dataset-fashion-mnist.*torchvision"):
        load("fashion-mnist")


def test_a_failed_download_says_why(nowhere, monkeypatch):
    module = type(sys)("torchvision.datasets")

    def no_network(root, download):
        raise OSError("Name or service not known")

    module.FashionMNIST = no_network
    monkeypatch.setitem(sys.modules, "torchvision", type(sys)("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    with pytest.raises(DataError, match=r"FOURFOLD_DATA.*Name or service not known"):
        load("fashion-mnist")


def test_broken_fashion_mnist_is_refused(nowhere, tmp_path):
    folder = write_fashion(tmp_path / "f")
    file = folder / "train-images-idx3-ubyte.gz"
    content = file.read_bytes()
    for broken in (
        content[:1000],
        b"no gzip",
        b"",
        gzip.compress(b"\0\0\x08\3"),
        gzip.compress(b"\0\0\x0d\1\0\0\0\0"),
        gzip.compress(gzip.decompress(content)[:-1]),
        content[:500] + b"\xff" * 50 + content[550:],
    ):
        file.write_bytes(broken)
        with pytest.raises(DataError, match=r"train-images-idx3.*fetch it again"):
            load("fashion-mnist", data_dir=folder)
    file.unlink()
    with pytest.raises(DataError, match=r"got no train-images-idx3-ubyte.gz"):
        load("fashion-mnist", data_dir=folder)


def test_fashion_mnist_whose_labels_do_not_match_is_refused(nowhere, tmp_path):
    folder = write_fashion(tmp_path / "f", train=60)
    other = write_fashion(tmp_path / "g", train=59)
    (other / "train-labels-idx1-ubyte.gz").rename(folder / "train-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match="labels must match images"):
        load("fashion-mnist", data_dir=folder)


def test_a_missing_data_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="data_dir must be a folder"):
        load("fashion-mnist", data_dir=tmp_path / "no")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("digit", "digits"),
        ("fashion_mnist", "fashion-mnist"),
        ("Two Moons", "two-moons"),
        ("pinwheels", "pinwheel"),
    ],
)
def test_unknown_names_suggest_the_closest(wrong, right):
    with pytest.raises(DataError, match=f"did you mean .{right}"):
        load(wrong)


def test_unknown_names_list_what_there_is():
    with pytest.raises(DataError, match="one of digits, fashion-mnist"):
        load("qqqq")
    with pytest.raises(DataError, match="must be a file or folder"):
        load("qqqq/data.csv")


def test_a_folder_with_the_name_of_a_built_in_set_is_not_passed_over_silently(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not any("built-in" in note for note in load("wine").notes)
    (tmp_path / "wine").mkdir()
    assert any("write ./wine for it" in note for note in load("wine").notes)
