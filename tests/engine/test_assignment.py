"""Which optimizer trains which parameter: hidden matrices are Muon's, what a module lists in ``for_adamw`` is not."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn

from every_space import APART
from fourfold.core import GenerativeModel, Term
from fourfold.engine.weights import Update, Weights
from fourfold.nn.text_encoder import SentenceEncoder
from fourfold.paradigms import build, recipes
from fourfold.spaces import Categories, Images, Lines, Text, Vectors

TABLE = Path(__file__).with_name("assignment.tsv")
"""Numbers that each optimizer trains, recorded when a submodule's name still decided; a new recipe adds its rows.

``PYTHONPATH=tests python tests/engine/test_assignment.py`` writes it anew: look at what changed before it is committed.
"""
SPACES = {
    "vectors": Vectors(3, given=Categories.numbered(2)),
    "images": Images(3, 8, 8, n_values=256, given=Categories.numbered(4)),
    "captioned": Images(3, 8, 8, n_values=256, given=Lines.of_bytes(12)),
    "text": Text("abcdef", length=24),
    **APART,
}


def assigned(model: GenerativeModel) -> str:
    """Numbers trained by Muon, by AdamW with decay and by AdamW without, in a model and its stages."""
    counts = dict.fromkeys((Update.MUON, Update.DECAYED, Update.PLAIN), 0)
    for part in [model, *(stage.model for stage in model.stages())]:
        for slot in Weights(part, part.terms(), muon=True).slots:
            counts[slot.update] += slot.stop - slot.start
    return "\t".join(map(str, counts.values()))


def rows() -> dict[tuple[str, str], str]:
    """The table of what is built today, with the encoder of texts that is always installed."""
    table = {}
    with patch.object(SentenceEncoder, "available", return_value=False):
        for name in recipes():
            for space, value in SPACES.items():
                try:
                    table[name, space] = assigned(build(name, value, "xs"))
                except TypeError:
                    continue
    return table


def test_every_recipe_assigns_as_the_table_says() -> None:
    recorded, names = {}, recipes()
    for line in TABLE.read_text().splitlines()[1:]:
        name, space, counts = line.split("\t", 2)
        if space in SPACES and name in names:  # but for those of a wing that is not there
            recorded[name, space] = counts
    assert rows() == recorded


class Net(nn.Module):
    for_adamw = ("last", "table", "nothing")

    def __init__(self) -> None:
        super().__init__()
        self.head, self.last = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        self.table, self.known = nn.Parameter(torch.zeros(3, 4)), nn.Embedding(3, 4)
        self.nothing = None


class Loss(Term):
    def __init__(self, net: nn.Module) -> None:
        super().__init__([net])

    def forward(self, batch):
        raise NotImplementedError


def kinds(net: nn.Module) -> dict[str, Update]:
    slots = Weights(net, {"loss": Loss(net)}, muon=True).slots
    return {slot.name: slot.update for slot in slots if slot.name.endswith(("weight", "table"))}


def test_the_attribute_decides_and_no_name_does() -> None:
    assert kinds(Net()) == {
        "head.weight": Update.MUON,
        "last.0.weight": Update.DECAYED,
        "last.1.weight": Update.DECAYED,
        "table": Update.DECAYED,
        "known.weight": Update.DECAYED,
    }


@pytest.mark.parametrize(("listed", "error"), [(("exit",), AttributeError), ("last", TypeError)])
def test_what_cannot_be_meant_is_refused(monkeypatch, listed, error) -> None:
    monkeypatch.setattr(Net, "for_adamw", listed)
    with pytest.raises(error, match=r"exit|Net\.for_adamw must be a tuple of names of its attributes, got 'last'"):
        kinds(Net())


if __name__ == "__main__":
    lines = ["recipe\tspace\tmuon\tadamw with decay\tadamw without", *("\t".join((*k, v)) for k, v in rows().items())]
    TABLE.write_text("\n".join(lines) + "\n")
