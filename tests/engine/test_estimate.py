"""What a training needs, told before it starts, against what it then has."""

from fourfold.data import load
from fourfold.engine.estimate import estimates, in_words, planned
from fourfold.engine.flops import count_flops
from fourfold.engine.training import begin
from fourfold.paradigms import build


def test_an_estimate_is_what_the_training_has():
    """Operations are those that a real step dispatches, and the state is that of the loop."""
    data = load("digits")
    plan = planned("diffusion/dit", data.space, "xs")
    assert {p.device.type for p in plan.parameters()} == {"meta"}
    (estimate,) = estimates(plan, plan.training_defaults, ranks=2)
    model = build("diffusion/dit", data.space, "xs")
    loop = begin(model, data, model.training_defaults)
    assert not estimate.unknown
    assert abs(estimate.operations / count_flops(loop) - 1) < 0.05  # kernels of attention differ by device
    assert estimate.parameters == len(loop.weights.flat)
    assert estimate.memory["none"]["average and kept weights"] == 2 * 4 * len(loop.weights.flat)
    saved = sum(
        v.numel() * 4 for key, v in loop.live().items() if ".mean." in key or ".square." in key or ".momentum." in key
    )
    assert estimate.memory["none"]["optimizer states"] == saved
    assert sum(estimate.memory["fsdp"].values()) < sum(estimate.memory["ddp"].values())
    assert "ddp x 2" in estimate.table()
    assert max(map(len, estimate.table().splitlines())) <= 80


def test_large_presets_have_their_size():
    """100 million and a billion parameters, within a tenth; nothing is allocated."""
    from fourfold.spaces import Images, Text

    sizes = {"l": 1e8, "xl": 1e9}
    for name, space in (
        ("autoregressive", Text("abcdef", length=256)),
        ("diffusion/dit", Images(3, 64, 64)),
        ("diffusion", Images(3, 64, 64)),
    ):
        for size, wanted in sizes.items():
            count = sum(p.numel() for p in planned(name, space, size).parameters())
            assert abs(count / wanted - 1) < 0.15, (name, size, count)


def test_bytes_in_words():
    assert [in_words(n) for n in (12, 1500, 2.5e6, 3e9, 4e12)] == ["12 B", "1.5 kB", "2.5 MB", "3 GB", "4 TB"]


def test_a_series_is_estimated_as_if_every_cell_were_there(tmp_path):
    """A loss that picks the cells that are there has no shape before they are known: all are the most there can be."""
    lines = [f"{i},{i % 7},{'xyz'[i % 3]}" for i in range(600)]  # without a gap
    (tmp_path / "s.csv").write_text("\n".join(["at,value,kind", *lines]))
    data = load(tmp_path / "s.csv", order="at")
    plan = planned("autoregressive/likelihood", data.space, "xs")
    (estimate,) = estimates(plan, plan.training_defaults)
    assert not estimate.unknown
    model = build("autoregressive/likelihood", data.space, "xs")
    counted = count_flops(begin(model, data, model.training_defaults))
    assert 0.7 < counted / estimate.operations < 1.05
    assert estimate.memory["none"]["activations"] > 0


def test_a_loss_that_reads_values_is_told():
    from fourfold.spaces import Vectors

    plan = planned("diffusion/optimal-transport", Vectors(2), "xs")
    (estimate,) = estimates(plan, plan.training_defaults)
    assert estimate.unknown
    assert "not known" in estimate.table()
