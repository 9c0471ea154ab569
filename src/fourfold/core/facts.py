"""The facts of a model: the two answers in the words of its parts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fourfold.core.edges import view
from fourfold.vocabulary import COSTS, FACTS, Facts

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["facts_of"]


def facts_of(model: GenerativeModel) -> Facts:
    """See :attr:`~fourfold.core.GenerativeModel.facts`."""
    estimand, objective, sampler, likelihood = model.estimand, model.objective, model.sampler, model.likelihood
    drawing = sampler.summary_of(view(estimand, sampler.needs))
    common, stages, decoding = FACTS[model.paradigm], model.stages(), model.codec.decoding
    cost = estimand.cost or sampler.cost or common.cost
    note = likelihood.summary_of(view(estimand, likelihood.needs))
    kind, note = model.codec.kind_of_raw(likelihood.kind or common.likelihood, note or common.likelihood_note)
    earlier = "".join(f"first the {s.name}: {s.model.objective.summary_of(s.model.estimand)}; then " for s in stages)
    of_code = ",  x: the code of an example" if decoding else ""
    return dataclasses.replace(
        common,
        represents=estimand.summary or common.represents,
        objective=earlier + (objective.summary_of(estimand) or common.objective),
        objective_formula=(objective.formula_of(estimand) or common.objective_formula) + of_code,
        sampling=(drawing or common.sampling) + (f"; then {decoding}" if decoding else ""),
        sampling_formula=(sampler.formula or common.sampling_formula) + of_code,
        likelihood=kind,
        likelihood_note=note,
        cost=cost,
        cost_note=COSTS[cost] + (", and one evaluation of the decoder" if decoding else ""),
        failure_modes=tuple(mode for mode in common.failure_modes if mode.name not in objective.avoids),
        parts=tuple(stage.name for stage in stages),
    )
