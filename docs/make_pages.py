"""Write docs/paradigms.md from the cards and the vocabulary: one page, one source. ``--check`` only compares."""

import sys
from pathlib import Path

from fourfold.paradigms import cards
from fourfold.vocabulary import Card

PAGE = Path(__file__).with_name("paradigms.md")


def section(card: Card) -> str:
    """One card as Markdown."""
    facts = card.facts
    recipes = ", ".join(f"`{card.name}`" if i == 0 else f"`{card.name}/{name}`" for i, name in enumerate(card.recipes))
    modes = "\n".join(f"| {mode.name} | {mode.meaning} | {mode.measurement} |" for mode in facts.failure_modes)
    papers = "\n".join(f"- {r.authors} ({r.year}): {r.title}, <{r.link}>" for r in facts.references)
    return f"""## {card.name}

{card.summary or facts.represents}

- *Represents*: {facts.represents}.
- *Training objective*: {facts.objective}: `{facts.objective_formula}`
- *Sampling procedure*: {facts.sampling}: `{facts.sampling_formula}`
- *Likelihood*: `{facts.likelihood}`: {facts.likelihood_note}.
- *Sampling cost*: {facts.cost}: {facts.cost_note}.
- *Gives*: {facts.gives}.
- *Inherits*: {facts.inherits}.
- *Recipes*: {recipes}

| failure mode | what happens | what reveals it |
| --- | --- | --- |
{modes}

{papers}
"""


def page() -> str:
    """The whole page."""
    head = "# The paradigms of fourfold\n\nWritten by `docs/make_pages.py` from the cards; do not edit by hand.\n"
    return "\n".join([head, *(section(card) for card in cards().values())])


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("docs/paradigms.md is out of date: run python docs/make_pages.py")
