"""Landmarks: names at every zoom, the best known first."""

from importlib import resources

import pytest

import fourfold_atlas as atlas


def test_each_zoom_shows_four_times_as_many_names_and_keeps_those_before():
    whole = atlas.landmarks(0)
    assert len(whole) == 40
    assert len({row.name for row in whole}) == 40
    assert {"DDPM", "GAN", "GPT-4", "Stable Diffusion"} <= {row.name for row in whole}
    assert len({row.cell for row in whole}) == 7, "each paradigm has a landmark"
    assert atlas.landmarks(1)[:40] == whole
    assert len(atlas.landmarks(1)) == 160
    assert sorted(row.id for row in atlas.landmarks()) == sorted(system.id for system in atlas.systems)
    with pytest.raises(ValueError, match=r"zoom .*-1"):
        atlas.landmarks(-1)


def test_every_ranked_id_is_of_a_system():
    lines = resources.files("fourfold_atlas").joinpath("ranking.txt").read_text().splitlines()[1:]
    assert len(lines) == len(set(lines)) >= 140
    assert set(lines) <= {system.id for system in atlas.systems}
