"""Write docs/paradigms.md from the cards and the vocabulary: one page, one source. ``--check`` only compares."""

import sys
from collections.abc import Mapping
from pathlib import Path

from fourfold.paradigms import cards, defaults, facts
from fourfold.vocabulary import Card, Facts

PAGE = Path(__file__).with_name("paradigms.md")


def section(card: Card) -> str:
    """One card as Markdown: what all its recipes share, then a table of recipes."""
    told = {recipe: facts(f"{card.name}/{recipe}") for recipe in card.recipes}
    common = next(iter(next(iter(told.values())).values()))
    modes = "\n".join(f"| {mode.name} | {mode.meaning} | {mode.measurement} |" for mode in common.failure_modes)
    papers = "\n".join(f"- {r.authors} ({r.year}): {r.title}, <{r.link}>" for r in common.references)
    chosen = ", ".join(f"`{recipe}` for {data}" for data, recipe in defaults(card.name).items())
    recipes = "\n".join(_recipe(f"{card.name}/{recipe}", by_data) for recipe, by_data in told.items())
    return f"""## {card.name}

{card.summary} The default is {chosen}.

{recipes}

| failure mode | what happens | what reveals it |
| --- | --- | --- |
{modes}

{papers}
"""


def _recipe(name: str, by_data: Mapping[str, Facts]) -> str:
    """What holds for one recipe; kinds of data for which the same holds share an entry."""
    groups: dict[Facts, list[str]] = {}
    for data, one in by_data.items():
        groups.setdefault(one, []).append(data)
    return "\n".join(f"### {name}: {' and '.join(data)}\n\n{_answers(one)}\n" for one, data in groups.items())


def _answers(facts: Facts) -> str:
    parts = f"\n- *Trained first*: {', '.join(facts.parts)}." if facts.parts else ""
    return f"""- *Represents*: {facts.represents}.
- *Objective*: {facts.objective}: `{facts.objective_formula}`
- *Sampling*: {facts.sampling}: `{facts.sampling_formula}`
- *Likelihood*: `{facts.likelihood}`: {facts.likelihood_note}.
- *Cost*: `{facts.cost}`: {facts.cost_note}.{parts}
- *Gives*: {facts.gives}.
- *Drawbacks*: {facts.drawbacks}."""


def page() -> str:
    """The whole page."""
    head = "# The paradigms of fourfold\n\nWritten by `docs/make_pages.py` from the cards; do not edit by hand.\n"
    return "\n".join([head, *(section(card) for card in cards().values())])


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("docs/paradigms.md is out of date: run python docs/make_pages.py")
