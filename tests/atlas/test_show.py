"""Placements show themselves in a notebook."""

import fourfold
import fourfold_atlas
from html_reader import read


def test_a_placement_shows_what_its_text_says():
    placed = fourfold.place("Stable Diffusion")
    shown = " ".join(read(placed._repr_html_()).texts)
    text = " ".join(fourfold_atlas.show.text(placed).split())
    for words in ("by the catalogue alone", placed.cost_note, "text encoder"):
        assert words in shown
        assert words in text
    missing = read(fourfold.place("Our model creates stunning images.")._repr_html_())
    assert "not decided" in missing.texts[0]
    hostile = read(fourfold.place("<img src=x> removes noise in fifty steps from a picture")._repr_html_())
    assert "img" not in hostile.tags
