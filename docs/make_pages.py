"""Write docs/paradigms.md from the cards and the vocabulary: one page, one source. ``--check`` only compares."""

import sys
from collections.abc import Mapping
from pathlib import Path

from fourfold.paradigms import cards, defaults, facts
from fourfold.vocabulary import Card, Facts

PAGE = Path(__file__).with_name("paradigms.md")


def section(card: Card) -> str:
    """One card as Markdown: its default recipes in full, of the others what differs."""
    told = {f"{card.name}/{recipe}": facts(f"{card.name}/{recipe}") for recipe in card.recipes}
    chosen = defaults(card.name)
    common = next(iter(facts(card.name).values()))
    groups = [group for recipe, by_data in told.items() for group in _groups(recipe, by_data)]
    groups.sort(key=lambda group: group[0] not in chosen.values())
    known = {data: set(_lines(one)) for data, one in facts(card.name).items()}
    blocks = [_block(name, data, _lines(one), known, chosen) for name, data, one in groups]
    recipes = "\n\n".join(blocks)
    failures = dict.fromkeys(
        mode for by_data in told.values() for one in by_data.values() for mode in one.failure_modes
    )
    modes = "\n".join(f"| {mode.name} | {mode.meaning} | {mode.measurement} |" for mode in failures)
    papers = "\n".join(f"- {r.authors} ({r.year}): {r.title}, <{r.link}>" for r in common.references)
    return f"""## {card.name}

{card.summary}

{recipes}

| failure mode | what happens | what reveals it |
| --- | --- | --- |
{modes}

{papers}
"""


def _groups(name: str, by_data: Mapping[str, Facts]) -> list[tuple[str, list[str], Facts]]:
    """A recipe's name, kinds of data and facts; kinds of data for which the same holds share an entry."""
    groups: dict[Facts, list[str]] = {}
    for data, one in by_data.items():
        groups.setdefault(one, []).append(data)
    return [(name, data, one) for one, data in groups.items()]


def _block(
    name: str,
    data: list[str],
    lines: list[str],
    known: Mapping[str, set[str]],
    chosen: Mapping[str, str],
) -> str:
    """A heading and the lines of a recipe: all of a default, of another those that no default has."""
    of = ", ".join(kind for kind in data if chosen.get(kind) == name)
    mark = f" (the default for {of})" if of and of != ", ".join(data) else " (the default)" if of else ""
    shown = lines if of else [line for line in lines if line not in known.get(data[0], set())]
    return f"### {name}: {', '.join(data)}{mark}\n\n" + "\n".join(shown or ["- As the default, with another network."])


def _lines(facts: Facts) -> list[str]:
    """The two answers and what follows from them, a line each."""
    parts = [f"- *Trained first*: {', '.join(facts.parts)}."] if facts.parts else []
    return [
        f"- *Represents*: {facts.represents}.",
        f"- *Objective*: {facts.objective}. `{facts.objective_formula}`",
        f"- *Sampling*: {facts.sampling}. `{facts.sampling_formula}`",
        f"- *Likelihood* (`{facts.likelihood}`): {facts.likelihood_note}.",
        f"- *Cost* (`{facts.cost}`): {facts.cost_note}.",
        *parts,
        f"- *Gives*: {facts.gives}.",
        f"- *Drawbacks*: {facts.drawbacks}.",
    ]


def page() -> str:
    """The whole page."""
    head = (
        "# The paradigms of fourfold\n\nWritten by `docs/make_pages.py` from the parts of each recipe at size s; do "
        "not edit by hand. The default recipes of each paradigm are described in full, other recipes where they "
        "differ.\n"
    )
    return "\n".join([head, *(section(card) for card in cards().values())])


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("docs/paradigms.md is out of date: run python docs/make_pages.py")
