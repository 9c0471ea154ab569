"""The settings of a training run, in one dataclass from the command line to the loop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, final

from fourfold.privacy.guarantee import Guarantee, parse_guarantee
from fourfold.runs.budget import Budget, Seconds, parse_budget
from fourfold.settings.data import DataKeywords
from fourfold.settings.declaration import (
    BUDGET,
    COMPILE,
    DEVICE,
    MACHINES_PANEL,
    PRECISION,
    PRIVACY_PANEL,
    SEED,
    SIZE,
    SPEED_PANEL,
    TRAINING_PANEL,
    Option,
    check_precision,
    setting,
)
from fourfold.vocabulary import AUTO, parse_size

if TYPE_CHECKING:
    from fourfold.core import Training

__all__ = [
    "PARALLEL",
    "FitKeywords",
    "FitSettings",
]

MINUTE = Seconds(60)
PARALLEL = ("auto", "none", "ddp", "fsdp")
"""The ways to share a training between processes."""
RECIPE = "the recipe's"


class FitKeywords(TypedDict, total=False):
    """The keywords of :func:`fourfold.fit` that are fields of :class:`FitSettings`, for editors and type checkers."""

    budget: str | float | Budget | None
    size: str | None
    seed: int | None
    device: str | None
    training: Training | None
    data_options: DataKeywords | None
    batch_size: int | None
    learning_rate: float | None
    muon_rate: float | None
    choose: bool | None
    opening: Mapping[str, Any] | None
    checkpoint_every: float | None
    precision: str | None
    compile: bool | None
    recompute: bool | None
    accumulate: int | None
    parallel: str | None
    private: str | float | Guarantee | None
    public: str | os.PathLike[str] | Mapping[str, Any] | None


@final
@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The settings of :func:`fourfold.fit`: its defaults, those of its caller, or those that a run recorded.

    Each is declared here alone, with its option of the command line.

    Attributes:
        budget: ``30s``, ``10m``, ``1h30m``, ``2000 steps``, ``5 epochs``, ``1e15 flops``, or a number of seconds. By
            default ``1m``.
        size: size of the preset: ``xs``, ``s``, ``m``, ``l``, ``xl``, or narrower, as ``s/2``. By default ``auto``, the
            size and the batch that suit this machine, the data and a budget in seconds, and ``s`` for another budget.
        seed: seed of the weights, the order of the data and every draw. By default 0.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``. ``auto``, the default, takes a GPU if there is one.
        training: all settings of training, instead of the preset's.
        data_options: further arguments of :func:`fourfold.load`.
        batch_size: examples per step, instead of the preset's.
        learning_rate: peak rate of AdamW, instead of the preset's.
        muon_rate: peak rate of Muon, instead of the preset's. 0 trains everything with AdamW.
        choose: whether the held-out loss chooses the weights to keep and ends a training that only overfits, as it does
            by default (see :class:`~fourfold.engine.heldout.HeldOut`). The rest of the budget then goes to another
            training, at a third of the rate. Otherwise one training takes the whole budget and its last weights are
            kept.
        opening: how a published model that is tuned is opened: options of its :class:`~fourfold.adapters.Adapter`.
        checkpoint_every: seconds between checkpoints. By default 60.
        precision: ``float32``, ``bf16`` or ``autocast``. By default the fastest that is stable.
        compile: whether compiled steps take part in that choice (with ``precision``: are used). By default only where
            the budget is long enough to pay for compiling.
        recompute: whether blocks of a network keep only their inputs for the backward pass. By default large ones do.
        accumulate: parts of a batch that each process takes one after the other. By default 1.
        parallel: how the processes that ``torchrun`` started share the training: ``ddp`` (each holds all weights) or
            ``fsdp`` (each holds a shard of every parameter). ``auto``, the default, takes ``ddp`` where that fits into
            memory. ``none`` trains in one process.
        private: the guarantee of differential privacy for each row of a table, or each person with all rows of a
            database, as ``epsilon=4`` or ``epsilon=4,delta=1e-5``. By default there is none.
        public: with ``private``, a schema file, or a dictionary like it, of what may be known of the columns: their
            kinds, categories, ``low`` and ``high``. Everything else is counted with noise.

    Raises:
        ValueError: for a value out of range, or an unknown precision.
    """

    budget: Budget = setting(MINUTE, BUDGET)  # noqa: RUF009 (it makes a field)
    size: str = setting(AUTO, SIZE)
    seed: int = setting(0, SEED)
    device: str = setting("auto", DEVICE)
    training: Training | None = None
    data_options: DataKeywords = field(default_factory=DataKeywords)
    batch_size: int | None = setting(
        None,
        Option(int, "Examples per step.", panel=TRAINING_PANEL, min=1, metavar="N", show_default=RECIPE),
    )
    learning_rate: float | None = setting(
        None,
        Option(float, "Peak learning rate of AdamW.", panel=TRAINING_PANEL, min=0, metavar="X", show_default=RECIPE),
    )
    muon_rate: float | None = setting(
        None,
        Option(
            float,
            "Peak learning rate of Muon; 0: AdamW alone.",
            panel=TRAINING_PANEL,
            min=0,
            metavar="X",
            show_default=RECIPE,
        ),
    )
    choose: bool = setting(
        True,
        Option(
            bool,
            "Keep the weights with the lowest held-out loss, or the last ones.",
            ("--choose/--keep-last",),
            TRAINING_PANEL,
            show_default="choose",
        ),
    )
    opening: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_every: float = setting(
        60.0,
        Option(
            float,
            "Seconds between two checkpoints.",
            panel=TRAINING_PANEL,
            min=0,
            metavar="X",
            show_default="60",
        ),
    )
    precision: str | None = setting(None, PRECISION)
    compile: bool | None = setting(None, COMPILE)
    recompute: bool | None = setting(
        None,
        Option(
            bool,
            "Compute blocks again in the backward pass: less memory.",
            ("--recompute/--no-recompute",),
            SPEED_PANEL,
            show_default="large blocks",
        ),
    )
    accumulate: int = setting(
        1,
        Option(
            int,
            "Parts of a batch that a process takes one after the other.",
            panel=SPEED_PANEL,
            min=1,
            metavar="N",
            show_default="1",
        ),
    )
    parallel: str = setting(
        AUTO,
        Option(
            str,
            "How the processes of torchrun share a training: auto, none, ddp (all weights each) or fsdp (shards).",
            panel=MACHINES_PANEL,
            show_default="auto: ddp where it fits",
        ),
    )
    private: Guarantee | None = setting(  # noqa: RUF009 (it makes a field)
        None,
        Option(
            str,
            "Guarantee differential privacy of each row, or person: epsilon=4[,delta=1e-5].",
            panel=PRIVACY_PANEL,
            metavar="WORDS",
            parse=parse_guarantee,
        ),
    )
    public: Any = setting(  # noqa: RUF009 (it makes a field)
        None,
        Option(
            str,
            "With --private: a .toml of what may be known of the columns; 'fourfold data' writes one.",
            panel=PRIVACY_PANEL,
            metavar="<path>",
        ),
    )

    def __post_init__(self) -> None:
        from fourfold.core import Training  # options are declared without torch, and checked with it

        for name in ("seed", "checkpoint_every"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.parallel not in PARALLEL:
            raise ValueError(f"parallel must be one of {', '.join(PARALLEL)}, got {self.parallel!r}")
        if self.public is not None and self.private is None:
            raise ValueError("public must be left out without private, which gives a guarantee; got some")
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}")
        if self.size != AUTO:
            parse_size(self.size)
        check_precision(self.precision or "float32", bool(self.compile))
        self.applied_to(Training())

    def applied_to(self, preset: Training) -> Training:
        """The settings of training for a preset's settings."""
        training = self.training or preset
        muon_rate = training.muon_rate if self.muon_rate is None else self.muon_rate or None
        return replace(
            training,
            batch_size=training.batch_size if self.batch_size is None else self.batch_size,
            learning_rate=training.learning_rate if self.learning_rate is None else self.learning_rate,
            muon_rate=muon_rate,
        )

    def changed(self, **keywords: Unpack[FitKeywords]) -> FitSettings:
        """These settings with those that a caller gives. ``None`` and the size ``auto`` give nothing."""
        values: dict[str, Any] = {name: value for name, value in keywords.items() if value is not None}
        if values.get("size") == AUTO:
            del values["size"]
        if "private" in values:
            values["private"] = parse_guarantee(values["private"])
        if "budget" in values:
            values["budget"] = parse_budget(values["budget"])
        values["data_options"] = {**self.data_options, **values.get("data_options", {})}
        return replace(self, **values)

    def of_stage(self, budget: Budget) -> FitSettings:
        """The settings of a stage, whose model is trained by the settings of its own preset."""
        return replace(self, budget=budget, training=None, batch_size=None, learning_rate=None, muon_rate=None)
