"""Compiled terms: compiled once, with the losses of terms that are not, and not at all where that is impossible."""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import fourfold
from fourfold.core import Batch
from fourfold.paradigms import build
from fourfold.parallel.wrappers import Alone
from fourfold.settings.declaration import has_compiler
from fourfold.spaces import Text, Vectors


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """The graphs that are compiled, which run as they are."""
    graphs, compiler = list[torch.fx.GraphModule](), torch.compile

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    def counted(module: nn.Module) -> object:
        return compiler(module, backend=backend)

    monkeypatch.setattr(torch, "compile", counted)
    torch._dynamo.reset()
    return graphs


@pytest.mark.parametrize("recipe", ["flow", "flow/continuous"])
def test_compiled_terms_are_not_compiled_again_at_later_steps(recipe: str, graphs: list[torch.fx.GraphModule]) -> None:
    model = build(recipe, Vectors(2), "xs")
    terms = model.objective.terms(model.estimand)
    (name, term), wrapper = next(iter(terms.items())), Alone(terms, compiled=True)
    batch, losses, counts = Batch(torch.randn(8, 2)), [], []
    for _ in range(3):
        torch.manual_seed(0)
        losses.append(wrapper(name, batch))
        counts.append(len(graphs))
    assert counts[0] > 0
    assert counts[2] == counts[1]
    torch.manual_seed(0)
    torch.testing.assert_close(losses[2], term(batch))
    assert term.watched["inverse_error"] < 1e-2


def test_counts_beside_a_network_are_not_compiled(graphs: list[torch.fx.GraphModule]) -> None:
    """How many n-grams follow depends on the text, so every batch would have graphs of its own."""
    text = Text("abcde", 12)
    model = build("autoregressive/ngrams", text, "xs")
    ids = torch.randint(5, (400,), generator=torch.Generator().manual_seed(0))
    model.fit_statistics(ids)
    terms = model.objective.terms(model.estimand)
    (name, term), wrapper = next(iter(terms.items())), Alone(terms, compiled=True)
    batches = [Batch(ids[i : i + 96].view(8, 12)) for i in (0, 60, 200, 300)]
    losses = [wrapper(name, batch) for batch in batches]
    assert 0 < len(graphs) < 10
    before = len(graphs)
    losses += [wrapper(name, Batch(batch.x.flip(0))) for batch in batches]
    assert len(graphs) == before
    torch.testing.assert_close(losses[4], term(Batch(batches[0].x.flip(0))))


def test_no_precision_is_tried_for_trees_and_no_setting_of_their_steps_is_advised() -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)).round(1), columns=["a", "b"])
    run = fourfold.fit("autoregressive/trees", rows, budget="150 steps", size="xs", compile=True, progress=False)
    assert not run.card["precision"]["compiled"]
    assert run.card["precision"]["measured"] == ["steps only refine what was fitted"]
    assert run.card["choice"]["kept_step"] < 150
    assert "try" not in run.card["choice"]["note"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")
def test_a_term_that_cannot_be_compiled_is_trained_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))  # no C++ to compile
    run = fourfold.fit("energy/denoising", "two-moons", budget="2 steps", size="xs", compile=True)
    assert run.card["steps"] == 2
    assert not run.card["precision"]["compiled"]
    assert "double backward" in run.card["precision"]["measured"][-1]
