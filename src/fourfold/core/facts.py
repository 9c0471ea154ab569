"""The facts of a model: the two answers in the words of its parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from fourfold.core.codec import Codec
from fourfold.core.edges import paradigm_of, view
from fourfold.core.estimand import Estimand
from fourfold.core.likelihood import Likelihood
from fourfold.core.objective import Objective
from fourfold.core.sampler import Sampler
from fourfold.vocabulary import COSTS, FACTS, Facts

__all__ = ["facts_of"]


def facts_of(
    codec: Codec,
    estimand: Estimand,
    objective: Objective,
    sampler: Sampler,
    likelihood: Likelihood,
    earlier: Mapping[str, str],
) -> Facts:
    """The facts of a model of these parts, see :attr:`~fourfold.core.GenerativeModel.facts`.

    ``earlier`` holds the summary of the objective of each stage that is trained first, by its name.

    Raises:
        LookupError: if the parts belong to no known paradigm.
    """
    common, decoding = FACTS[paradigm_of(type(estimand), objective.principle)], codec.decoding
    drawing = sampler.summary_of(view(estimand, sampler.needs))
    cost = estimand.cost or sampler.cost or common.cost
    note = likelihood.summary_of(view(estimand, likelihood.needs))
    kind, note = codec.kind_of_raw(likelihood.kind or common.likelihood, note or common.likelihood_note)
    first = "".join(f"first the {name}: {summary}; then " for name, summary in earlier.items())
    of_code = ",  x: the code of an example" if decoding else ""
    return dataclasses.replace(
        common,
        represents=estimand.summary or common.represents,
        objective=first + (objective.summary_of(estimand) or common.objective),
        objective_formula=(objective.formula_of(estimand) or common.objective_formula) + of_code,
        sampling=(drawing or common.sampling) + (f"; then {decoding}" if decoding else ""),
        sampling_formula=(sampler.formula or common.sampling_formula) + of_code,
        likelihood=kind,
        likelihood_note=note,
        cost=cost,
        cost_note=COSTS[cost] + (", and one evaluation of the decoder" if decoding else ""),
        failure_modes=tuple(mode for mode in common.failure_modes if mode.name not in objective.avoids),
        parts=tuple(earlier),
    )
