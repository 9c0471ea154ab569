"""A run: a trained model, its folder and its card."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from torch import Tensor

from fourfold.adapters import NOTHING, adapter_of
from fourfold.core import Condition, GenerativeModel, LogProb, Picture, Sampler
from fourfold.data import Data, DataError, Dataset, Split, examples_of, load, names, read_all, read_raw
from fourfold.data.dataset import digest
from fourfold.data.errors import option
from fourfold.data.packed import kind_of
from fourfold.data.readers import TABLES
from fourfold.machine.hardware import find_device
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.regular import json_object
from fourfold.output import notebook
from fourfold.output.printable import shortened
from fourfold.paradigms.autoregressive import TokenConditionals
from fourfold.parallel.processes import join
from fourfold.privacy import guarantee_words
from fourfold.runs.blueprint import check_loadable
from fourfold.runs.card import ELSEWHERE, outside_card, read_card
from fourfold.runs.checkpoint import check_vacant, load_model, save_model, undefined
from fourfold.runs.files import write_json
from fourfold.runs.lock import locked
from fourfold.runs.places import folder_at
from fourfold.runs.remembered import load_own
from fourfold.settings.data import name_of
from fourfold.tasks.bayes import PosteriorDraws, posterior
from fourfold.tasks.completing import approximate_note
from fourfold.tasks.conditions import Conditioning, conditioning, given_space
from fourfold.tasks.drawing import adjusted, beside
from fourfold.tasks.evaluation import evaluate, examples
from fourfold.tasks.examples import raw_examples
from fourfold.tasks.given import requirements, sample_given

if TYPE_CHECKING:
    from fourfold.metrics.score import Measurements

__all__ = ["Run"]

CANDIDATES = 4096
"""Training conditions that a posterior is drawn from, at most."""


@final
@dataclass(frozen=True)
class Run:
    """A trained model with the record of its training.

    It samples, scores and is evaluated. :mod:`fourfold.tasks` has functions of ``run.model`` for everything else, such
    as :func:`fourfold.tasks.impute`.

    Attributes:
        model: in evaluation mode, with averaged weights.
        folder: the run folder, or ``None``. :meth:`save` writes one.
        card: the record: data, split, seed, budget, hardware, versions, precision, seconds, steps. It is empty for a
            model that was trained in a loop of your own and is not saved yet.
        data: the data set it was trained on, if it is at hand.
    """

    model: GenerativeModel
    folder: Path | None = None
    card: dict[str, Any] = field(default_factory=dict)
    data: Dataset | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not (self.data is None or isinstance(self.data, Dataset)):
            kind = type(self.data).__name__
            raise TypeError(f"data must be a Dataset, got {kind}: load it, as in Run(model, data=fourfold.load(x))")

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str = "auto",
        trust: Sequence[type] = (),
        opening: Mapping[str, Any] = NOTHING,
    ) -> Run:
        """Load a run folder. Neither the data nor the code that trained the model is needed.

        A published model is loaded too, if an installed adapter reads it.

        Args:
            folder: may come from anywhere: nothing in it is executed, and it cannot ask for more memory than it has.
                ``zoo:digits/diffusion`` is a run of an installed place (:mod:`fourfold.runs.places`).
            device: device of the model: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.
            trust: classes of your own that the model consists of, such as those of a script.
            opening: how a published model is opened: options of its :class:`~fourfold.adapters.Adapter`.

        Raises:
            BrokenRun: naming the file that is missing or damaged.
            ValueError: for a device that this machine does not have, or options of a model that has none.
        """
        folder, place = folder_at(folder), find_device(device)
        adapter = adapter_of(folder)
        if adapter is not None:
            return cls(adapter.open(folder, opening, place.type).to(place), folder)
        if opening:
            raise ValueError(f"{folder}: {min(opening)} must be left out for a run: it is for published models")
        if not (folder / "model.json").exists() and any(folder.glob("model*.safetensors")):
            if json_object(folder / "config.json"):
                raise ValueError(
                    f"{folder}: must be a run or a model of an installed adapter, got another: install one"
                )
            raise ValueError(f"{folder}: holds weights, but no config.json that can be read: fetch it beside them")
        return cls(load_model(folder, trust).to(place), folder, read_card(folder))

    def save(self, folder: Path | str) -> Run:
        """Write the run into a folder: :meth:`load` and the command line open it, without the data and its code.

        A model that was trained in a loop of your own is a run, too: ``Run(model, data=data).save("mine")``. Its card
        says that it was trained elsewhere. The state of the training is not written, so a copy cannot be resumed.

        Args:
            folder: is made. Under ``torchrun`` the first process writes.

        Returns:
            The run of that folder.

        Raises:
            ValueError: for a folder that holds a run, or a model that could not be loaded again.
            TypeError: for a part that cannot be written to ``model.json``: make it a Part or a dataclass.
            RunInUse: if another process trains in the folder.
        """
        folder, processes = Path(folder), join()
        check_loadable(self.model)
        if name := undefined(self.model.state_dict()):
            raise ValueError(f"{name} holds NaN, so the model cannot be used: train it again at a lower learning rate")
        card = self.card or outside_card(self.model, self.data)
        if processes.rank == 0:
            with locked(folder, "being written"):
                check_vacant(folder)
                save_model(self.model, folder)
                write_json(folder / "card.json", card)
        processes.largest(0)  # no process reads before the first has written
        return replace(self, folder=folder, card=card)

    def __repr__(self) -> str:
        card = self.card
        place = f"{str(self.folder)!r}: " if self.folder else ""
        if "data" not in card:
            return f"Run({place}{type(self.model.objective).__name__} on {self.model.space})"
        training = f"{card['steps']} steps in {card['seconds']:.4g} s" if "steps" in card else f"trained {ELSEWHERE}"
        return f"Run({place}{card['paradigm']} on {card['data']['name']}, {training})"

    def _repr_html_(self) -> str:
        """The card in short, for notebooks."""
        card, facts = self.card, self.model.facts
        training = f"{card['steps']:,} steps in {card['seconds']:.3g} s" if "steps" in card else card.get("trained", "")
        rows = [
            ("data", f"{card['data']['name']}: {self.model.space}" if "data" in card else str(self.model.space)),
            ("trained", f"{training}, {card['parameters']:,} parameters" if training else "not recorded"),
            *([("privacy", words)] if (words := guarantee_words(card)) else []),
            ("objective", facts.objective),
            ("sampling", f"{facts.sampling}; {facts.cost_note}"),
            ("likelihood", f"{facts.likelihood.words}: {facts.likelihood_note}"),
            ("weights kept", card.get("choice", {}).get("note", "")),
            ("folder", str(self.folder or "")),
            ("next", ".show()   .sample(64)   .log_prob(x)   .evaluate()"),
        ]
        return notebook.block(card.get("recipe", type(self.model.objective).__name__), notebook.facts(rows))

    def sample(
        self,
        n: int,
        given: Condition = None,
        seed: int = 0,
        batch_size: int | None = None,
        *,
        sampler: Sampler | str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        balance: str | None = None,
        require: str | Sequence[str] = (),
    ) -> Tensor:
        """Draw raw examples ``(n, *shape)``, on the CPU. :meth:`table` draws the rows of a data frame.

        Under ``torchrun`` every process draws its part of the indices and returns all samples.

        Args:
            n: number of samples.
            given: the condition: an example of the space of conditions for all samples, or one for each, such as a
                class by number or name, a text, an array, a data frame, or the path of a file. For a table, also values
                that its columns must have: ``{"education": "Masters", "age": (30, 40)}``, where a tuple is a range, and
                a list holds alternatives. See :func:`fourfold.tasks.conditioning`.
            seed: seed of the samples. Together with its index it fixes a sample.
            batch_size: samples per network call. It changes only speed and memory. The model's default is 1,024 of
                at most 64 numbers, or 256.
            sampler: another sampler, or its name.
            steps: another number of steps of the sampler.
            guidance: scale of classifier-free guidance.
            balance: a categorical column, each of whose categories gets the same share of the samples.
            require: conditions such as ``"a <= b"`` that every sample fulfils: see
                :class:`fourfold.tasks.requirement.Requirement`.

        Raises:
            ValueError: for n < 1, a condition, a value or an option that the model does not have.
            TypeError: for a sampler that does not fit the model.
        """
        model = adjusted(self.model, sampler, steps, guidance)
        parts = self.conditioning(given)
        cond = model.space.encode_condition(parts.condition, n)
        if parts.restrictions or balance is not None or require:
            tests = requirements(require, self.model.space, lambda: self.dataset().train.x)
            samples = sample_given(
                model, n, cond, seed, batch_size, given=parts.restrictions, balance=balance, requirements=tests
            )
            if samples.approximate:
                warnings.warn(approximate_note(samples.approximate, n), stacklevel=2)
            return samples.x
        processes = join()
        start, stop = processes.share(n)
        if n < processes.world or processes.world == 1:
            return model.sample(n, cond, seed, batch_size).cpu()
        part = None if cond is None else cond[start:stop]
        return processes.gather(model.sample(stop - start, part, seed, batch_size, start)).cpu()

    def conditioning(self, given: Condition) -> Conditioning:
        """The two sides of what is given: see :func:`fourfold.tasks.conditioning`."""
        return conditioning(self.model.space, given, self.label_column)

    def table(
        self,
        n: int,
        given: Condition = None,
        seed: int = 0,
        *,
        balance: str | None = None,
        require: str | Sequence[str] = (),
    ) -> pd.DataFrame:
        """Draw rows as a data frame with the columns of the training data, in its order and with its dtypes.

        They are the samples of :meth:`sample`, which describes the arguments. The columns of the condition stand
        behind those of the samples.

        Raises:
            TypeError: for a model of anything else than columns with names.
            ValueError: as :meth:`sample` does.
        """
        space = self.model.space
        if not space.columns:
            raise TypeError(
                f"the columns of a data frame must have names, got samples of {space}: run.sample({n}) gives a tensor, "
                "and fourfold.data.writers.write_examples writes it to a file"
            )
        parts = self.conditioning(given)
        cond, space = space.encode_condition(parts.condition, n), parts.named(space)
        x = self.sample(n, given, seed, balance=balance, require=require)
        return beside(space, cond, self.label_column or "label").after(space.table(x), space.row_counts(x))

    def show(self, x: Tensor | None = None, n: int = 36, given: Condition = None, seed: int = 0) -> Picture:
        """Return a picture of examples, which a notebook displays: ``run.show()``.

        Points are shown over test data, if the data set is at hand.

        Args:
            x: raw examples ``(n, *shape)``. By default samples are drawn.
            n: number of samples that are drawn.
            given: their condition, see :meth:`sample`.
            seed: of the samples.
        """
        space = self.model.space
        references = None if self.data is None or space.conditional else examples(self.data, 1000)
        return space.picture(self.sample(n, given, seed) if x is None else x, references)

    def log_prob(
        self,
        x: Tensor | np.ndarray | pd.DataFrame | Sequence[Any],
        given: Condition = None,
        seed: int = 0,
        batch_size: int = 256,
        draws: int = 2,
    ) -> LogProb:
        """The typed log-probability of raw examples, see :meth:`fourfold.core.GenerativeModel.log_prob`.

        Under ``torchrun`` every process scores its part of the examples and returns all results.

        Args:
            x: ``(B, *shape)`` raw examples: a tensor, an array, lists of numbers, or a data frame. Numbers of another
                precision are converted.
            given: the condition ``c`` of ``log p(x | c)``: one for all examples or one for each, as for :meth:`sample`.
            seed: seed of probes, importance samples and dequantisation.
            batch_size: examples per network call.
            draws: how often a random encoding is drawn. The results are averaged.

        Raises:
            ValueError: if ``x`` does not belong to the space, naming the row and column, or for a condition that the
                model does not have.
        """
        x, processes = raw_examples(x, self.model.space), join()
        parts = self.conditioning(given)
        if parts.restrictions:
            raise ValueError(
                f"given must be a condition of the model, got values of {shortened(parts.restrictions)}, columns of "
                "its examples: use fourfold.tasks.log_prob_given for the probability of columns given others"
            )
        cond = self.model.space.encode_condition(parts.condition, len(x))
        start, stop = processes.share(len(x))
        if len(x) < processes.world or processes.world == 1:
            return self.model.log_prob(x, cond, seed, batch_size, draws)
        self.model.space.check(x)
        part = None if cond is None else cond[start:stop]
        mine = self.model.log_prob(x[start:stop], part, seed, batch_size, draws, start)
        return replace(LogProb.cat(processes.all(mine)), dims=mine.dims)

    def posterior(
        self, x: Tensor | np.ndarray | pd.DataFrame | Sequence[Any], n: int = 100, prior: Any = None, seed: int = 0
    ) -> PosteriorDraws:
        """Draw the conditions of examples by Bayes' rule, see :func:`fourfold.tasks.posterior`.

        Args:
            x: ``(B, *shape)`` raw examples, as for :meth:`log_prob`.
            n: draws for each.
            prior: draws of the condition. By default 4,096 conditions of the training data at most, evenly spaced.
            seed: of the draws.

        Raises:
            ValueError: for a model without conditions or a likelihood, or if the training data is not at hand.
        """
        if prior is None:
            given_space(self.model.space)
            cond = self.dataset().train.cond
            prior = None if cond is None else cond[:: -(-len(cond) // CANDIDATES)]
        return posterior(self.model, x, n, prior, seed)

    def examples(
        self,
        data: Data | None = None,
        split: str | None = None,
        *,
        labels: str | None = None,
        given: Any = None,
        limit: int | None = None,
        skip_bad: bool = False,
    ) -> tuple[Split, tuple[str, ...]]:
        """Raw examples in the space of the model, and notes on what reading changed.

        Columns of a table are found by name, classes keep the numbers of the model, and a text is cut into windows. A
        text that is shorter than a window is one example, if the model draws token by token.

        Args:
            data: a built-in set, a file, a folder, an array or a table. By default the data the run was trained on.
            split: ``train``, ``validation`` or ``test``. By default the test split of the run's own data and of
                built-in sets, and all examples of anything else.
            labels: the label column or array, if its name differs from that in the training data.
            given: the condition of each example, as :func:`fourfold.load` takes it. A table that has the columns of
                the conditions needs none.
            limit: the most examples to read.
            skip_bad: whether images that cannot be read are left out.

        Raises:
            DataError: naming the file, row, column or argument, and the way out.
            ValueError: for another split.
        """
        if split not in (None, "train", "validation", "test"):
            raise ValueError(f"split must be train, validation or test, got {split!r}")
        space = self.model.space
        if data is not None and split is None and not self._built_in(data):
            short = isinstance(self.model.estimand, TokenConditionals)  # the chain rule stops where the text ends
            column = labels or self._labels(data)
            return read_all(data, space, limit=limit, labels=column, given=given, skip_bad=skip_bad, short=short)
        dataset = self.dataset(data, labels=labels, given=given, skip_bad=skip_bad)
        part: Split = getattr(dataset, split or "test")
        x = examples_of(dataset.name, part.x, space)
        return Split(x[:limit], None if part.cond is None else part.cond[:limit]), dataset.notes

    def evaluate(
        self,
        data: Data | Dataset | None = None,
        n: int = 2000,
        seed: int = 0,
        *,
        features: str | None = None,
        seconds: float | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Measurements:
        """Every metric that applies, against test examples.

        Args:
            data: by default the test split of the data the run was trained on, loaded again by its name and seed, or
                other data, of which all examples are test examples: see :meth:`test_set`.
            n: number of samples and of references.
            seed: seed of the samples.
            features: feature space of images, see :func:`fourfold.tasks.evaluation.evaluate`.
            seconds: time limit for sampling, and again for scoring. ``None`` sets no limit.
            say: a function that is called with a line on how long sampling will take, if that is long.

        Raises:
            DataError: if the data cannot be loaded.
            ValueError: if the data of the run has changed since.
        """
        dataset = data if isinstance(data, Dataset) else self.test_set(data)
        return evaluate(self.model, dataset, n=n, seed=seed, features=features, seconds=seconds, say=say)

    def test_set(
        self, data: Data | None = None, *, labels: str | None = None, given: Any = None, skip_bad: bool = False
    ) -> Dataset:
        """The data set that :meth:`evaluate` measures on.

        All examples of other data than the run's own and built-in sets are its test split. Floors, copies and the gap
        need training examples, which are those of the run. If these are not at hand, half of the data stands for them.

        Args:
            data: as for :meth:`evaluate`.
            labels: its label column or array, if its name differs from that in the training data.
            given: the conditions, as for :meth:`examples`.
            skip_bad: whether images that cannot be read are left out.

        Raises:
            DataError: if the data cannot be loaded, or does not suit the space of the model.
        """
        if data is None or self._built_in(data):
            return self.dataset(data, labels=labels, given=given, skip_bad=skip_bad)
        try:
            training_data = self.dataset()
        except (DataError, ValueError) as error:
            return self._halved(data, str(error), labels, given, skip_bad)
        if self._is_own(data, training_data):
            return training_data
        space, name = self.model.space, name_of(data)
        test, notes = read_raw(data, space, labels=labels or self._labels(data), given=given, skip_bad=skip_bad)
        if space.given is not None and test.cond is None:
            way = f"name them ({option('labels')})" if space.given.names else f"give them ({option('given')})"
            raise DataError(f"{name}: must have the conditions of the model ({space.given}), got none: {way}")
        examples_of(name, test.x, space)
        return replace(
            training_data, name=name, source=name, test=test, notes=notes, skipped=(), digest=digest(test.x, test.cond)
        )

    def _halved(self, data: Data, reason: str, labels: str | None, given: Any, skip_bad: bool) -> Dataset:
        """Other data, half of which stands for training data that is not at hand."""
        halves = self._load(data, labels, given, skip_bad, (0.4, 0.1, 0.5))
        note = (
            f"half of the data is the test, and the rest stands for the training data, which is not at hand: {reason}"
        )
        return replace(halves, notes=(*halves.notes, note))

    def _is_own(self, data: Data, training_data: Dataset) -> bool:
        """True if other data holds the very examples that the run was trained on."""
        try:
            again = load_own(self.card, self.folder, data) if "data" in self.card else load(data)
        except (DataError, ValueError):
            return False
        return again.digest == training_data.digest

    @staticmethod
    def _built_in(data: Data) -> bool:
        return isinstance(data, (str, os.PathLike)) and os.fspath(data) in names()

    def dataset(
        self, data: Data | None = None, *, labels: str | None = None, given: Any = None, skip_bad: bool = False
    ) -> Dataset:
        """The data the run was trained on, loaded again and checked by its digest, or other data, in the model's space.

        Args:
            data: other data. It is split with the seed of the run.
            labels: its label column or array, if its name differs from that in the training data.
            given: its conditions, as for :meth:`examples`.
            skip_bad: whether images that cannot be read are left out.

        Raises:
            DataError: if the data cannot be loaded, or does not suit the space of the model.
            ValueError: if the data of the run has changed.
        """
        if data is not None:
            return self._load(data, labels, given, skip_bad)
        if self.data is not None:
            return self.data
        if "data" not in self.card:
            raise ValueError(f"data must be named, since {self.folder or 'this model'} was not trained here")
        record = self.card["data"]
        if "private" in self.card:  # its digest is secret, and its schema must not be read from the rows again
            return load_own(self.card, self.folder, space=self.model.space)
        training_data = load_own(self.card, self.folder)
        if training_data.digest != record["digest"]:
            raise ValueError(
                f"{record['name']} is not the data this run was trained on, since its digest has changed: "
                "name a file or a set to measure the run on it all the same"
            )
        if not self.model.space.fits(training_data.space):  # another version infers other columns from the same rows
            own = load_own(self.card, self.folder, space=self.model.space)
            return replace(own, digest=training_data.digest)
        return training_data

    def _load(
        self, data: Data, labels: str | None, given: Any, skip_bad: bool, fractions: tuple[float, ...] | None = None
    ) -> Dataset:
        """Other data in the space of the model, split with the seed of the run."""
        space = self.model.space
        return load(
            data,
            space=space,
            labels=labels or self._labels(data),
            given=given,
            skip_bad=skip_bad,
            seed=self.card.get("data", {}).get("seed", 0),
            fractions=fractions,
        )

    def _labels(self, data: Data) -> str | None:
        """The name of the training data's labels, if such data can have a column or array of that name."""
        suffix = kind_of(Path(data)) if isinstance(data, (str, os.PathLike)) else ""
        columnar = suffix in (*TABLES, ".npz") or hasattr(data, "columns")
        return self.label_column if columnar else None

    @property
    def label_column(self) -> str | None:
        """The name of the label column or array in the training data, if it has one."""
        name = self.card.get("data", {}).get("options", {}).get("labels")
        return name if isinstance(name, str) and not name.endswith(".npy") else None
