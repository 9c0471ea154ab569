"""Write the README's first picture from the zoo: ``python tools/make_animation.py docs/pictures/paradigms.svg``."""

from __future__ import annotations

import sys
from pathlib import Path

from fourfold_web import zoo
from fourfold_web.animation import animation
from fourfold_web.traces import traced

TITLES = {
    "autoregressive": "autoregressive",
    "latent-variable": "latent variable",
    "adversarial": "adversarial",
    "diffusion": "diffusion",
    "flow": "normalizing flow",
    "energy": "energy-based",
}


def main(path: Path) -> None:
    """Write the animation."""
    text = animation({title: traced(zoo.folder_of(f"two-moons/{name}"), "two-moons") for name, title in TITLES.items()})
    path.write_text(f"{text}\n", encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
