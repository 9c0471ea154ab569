"""Compiled terms: compiled once, with the losses of terms that are not, and not at all where that is impossible."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fourfold
from fourfold.core import Batch
from fourfold.paradigms import build
from fourfold.parallel.wrappers import Alone
from fourfold.settings.declaration import has_compiler
from fourfold.spaces import Vectors


@pytest.mark.parametrize("recipe", ["flow", "flow/continuous"])
def test_compiled_terms_are_not_compiled_again_at_later_steps(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, compiler = [], torch.compile

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    def counted(module: nn.Module) -> object:
        return compiler(module, backend=backend)

    monkeypatch.setattr(torch, "compile", counted)
    torch._dynamo.reset()
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")
def test_a_term_that_cannot_be_compiled_is_trained_as_it_is() -> None:
    run = fourfold.fit("energy/denoising", "two-moons", budget="2 steps", size="xs", compile=True)
    assert run.card["steps"] == 2
    assert not run.card["precision"]["compiled"]
    assert "double backward" in run.card["precision"]["measured"][-1]
