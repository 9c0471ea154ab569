"""Typed evidence: a quote, its place, and the claim that it supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fourfold.vocabulary import FACTS, Cost, Kind, Paradigm

__all__ = ["CLAIMS", "DEFAULTS", "LEANS", "LONGEST_QUOTE", "OBJECTIVE_OF", "SAMPLING_OF", "Aspect"]
__all__ += ["Cell", "Claim", "Evidence", "Form", "Reader", "shortened"]

#: characters of a quote
LONGEST_QUOTE = 160


class Cell(StrEnum):
    """A place on the map: a paradigm, or the land beyond its border where nothing is drawn."""

    AUTOREGRESSIVE = "autoregressive"
    LATENT_VARIABLE = "latent-variable"
    ADVERSARIAL = "adversarial"
    DIFFUSION = "diffusion"
    FLOW = "flow"
    ENERGY = "energy"
    NOT_GENERATIVE = "not-generative"

    @property
    def paradigm(self) -> Paradigm | None:
        """The paradigm of this cell, or ``None`` beyond the border."""
        return None if self is Cell.NOT_GENERATIVE else Paradigm(self.value)


class Aspect(StrEnum):
    """The question that a claim answers."""

    OBJECTIVE = "objective"
    SAMPLING = "sampling"
    NAMED = "named"
    WORDING = "wording"
    PROPERTY = "property"
    PART = "part"
    PROMISE = "promise"


class Reader(StrEnum):
    """The reader that found a piece of evidence. ``NAME`` is prior knowledge and never mixes with the others."""

    WORDS = "words"
    FILES = "files"
    CODE = "code"
    LIVE = "live"
    NAME = "name"


class Form(StrEnum):
    """The kind of thing that was quoted.

    A reason states the objective or the sampling of the system itself: a clause with its actor and its verb, or a line
    that a loss depends on. A passage only says something of a mechanism, and a hint tilts the balance. A scrap is no
    sentence of prose: a table, a prompt, an install note, a quotation of others.
    """

    REASON = "reason"
    PASSAGE = "passage"
    HINT = "hint"
    SCRAP = "scrap"
    LOOP = "loop"
    COMMENT = "comment"


class Claim(StrEnum):
    """The statement that one piece of evidence makes about a system.

    Attributes:
        aspect: the question it answers.
        cell: the cell it speaks for, or ``None`` where it only tells a property or a part.
        says: the same in words.
    """

    aspect: Aspect
    cell: Cell | None
    says: str

    def __new__(cls, value: str, aspect: Aspect, cell: Cell | None, says: str) -> Claim:
        claim = str.__new__(cls, value)
        claim._value_ = value
        claim.aspect, claim.cell, claim.says = aspect, cell, says
        return claim

    # objective
    NEXT_PIECE = "next_piece", Aspect.OBJECTIVE, Cell.AUTOREGRESSIVE, "trained on each token given the earlier ones"
    BOUND = "bound", Aspect.OBJECTIVE, Cell.LATENT_VARIABLE, "trained on a bound (reconstruction and a KL to a prior)"
    CODE_GAME = (
        "code_game",
        Aspect.OBJECTIVE,
        Cell.LATENT_VARIABLE,
        "trained to rebuild, with codes matched to the prior by a discriminator or a kernel",
    )
    EXACT_LATENT = "exact_latent", Aspect.OBJECTIVE, Cell.LATENT_VARIABLE, "trained with latents summed out, as by EM"
    GAME = "game", Aspect.OBJECTIVE, Cell.ADVERSARIAL, "trained in a game against a discriminator or critic"
    DISCREPANCY = "discrepancy", Aspect.OBJECTIVE, Cell.ADVERSARIAL, "trained by a fixed score of samples against data"
    DENOISE = "denoise", Aspect.OBJECTIVE, Cell.DIFFUSION, "trained to predict noise, score or clean example"
    VELOCITY = "velocity", Aspect.OBJECTIVE, Cell.DIFFUSION, "trained to regress a velocity between noise and data"
    CONSISTENCY = "consistency", Aspect.OBJECTIVE, Cell.DIFFUSION, "trained to agree along a diffusion trajectory"
    MASKED_BOUND = "masked_bound", Aspect.OBJECTIVE, Cell.DIFFUSION, "trained to restore masked or random symbols"
    CHANGE_OF_VARIABLES = "change_of_variables", Aspect.OBJECTIVE, Cell.FLOW, "trained by the change of variables"
    ENERGY_CONTRAST = "energy_contrast", Aspect.OBJECTIVE, Cell.ENERGY, "trained to give data a low energy"
    LABELS = "labels", Aspect.OBJECTIVE, Cell.NOT_GENERATIVE, "trained to predict labels or scores"
    FEATURES = "features", Aspect.OBJECTIVE, Cell.NOT_GENERATIVE, "trained to represent its input: an encoder"
    REBUILD = "rebuild", Aspect.OBJECTIVE, Cell.NOT_GENERATIVE, "trained to rebuild its input, without a prior"
    REGRESSION = "regression", Aspect.OBJECTIVE, Cell.NOT_GENERATIVE, "trained to give a single best answer"
    REWARD = "reward", Aspect.OBJECTIVE, Cell.NOT_GENERATIVE, "trained for reward, not to model data"
    # sampling
    ONE_BY_ONE = "one_by_one", Aspect.SAMPLING, Cell.AUTOREGRESSIVE, "draws token after token"
    DECODE_LATENT = "decode_latent", Aspect.SAMPLING, Cell.LATENT_VARIABLE, "draws a latent from a prior and decodes it"
    MAP_NOISE = "map_noise", Aspect.SAMPLING, Cell.ADVERSARIAL, "maps noise once through a generator"
    ITERATE = "iterate", Aspect.SAMPLING, Cell.DIFFUSION, "walks from noise to data in steps"
    FILL_MASKS = "fill_masks", Aspect.SAMPLING, Cell.DIFFUSION, "fills masked symbols in over several rounds"
    INVERT = "invert", Aspect.SAMPLING, Cell.FLOW, "inverts the map on a draw from the base"
    CHAIN = "chain", Aspect.SAMPLING, Cell.ENERGY, "runs a Markov chain on the energy"
    NOTHING_DRAWN = "nothing_drawn", Aspect.SAMPLING, Cell.NOT_GENERATIVE, "nothing is drawn"
    # named
    CALLED_AUTOREGRESSIVE = "called_autoregressive", Aspect.NAMED, Cell.AUTOREGRESSIVE, "called autoregressive"
    CALLED_LATENT = "called_latent_variable", Aspect.NAMED, Cell.LATENT_VARIABLE, "called a latent-variable model"
    CALLED_ADVERSARIAL = "called_adversarial", Aspect.NAMED, Cell.ADVERSARIAL, "called adversarial"
    CALLED_DIFFUSION = (
        "called_diffusion",
        Aspect.NAMED,
        Cell.DIFFUSION,
        "called diffusion, score-based or flow matching",
    )
    CALLED_FLOW = "called_flow", Aspect.NAMED, Cell.FLOW, "called a normalizing flow"
    CALLED_ENERGY = "called_energy", Aspect.NAMED, Cell.ENERGY, "called energy-based"
    # wording
    LEANS_AUTOREGRESSIVE = "leans_autoregressive", Aspect.WORDING, Cell.AUTOREGRESSIVE, "autoregressive in its wording"
    LEANS_LATENT = "leans_latent_variable", Aspect.WORDING, Cell.LATENT_VARIABLE, "latent-variable in its wording"
    LEANS_ADVERSARIAL = "leans_adversarial", Aspect.WORDING, Cell.ADVERSARIAL, "adversarial in its wording"
    LEANS_DIFFUSION = "leans_diffusion", Aspect.WORDING, Cell.DIFFUSION, "diffusion in its wording"
    LEANS_FLOW = "leans_flow", Aspect.WORDING, Cell.FLOW, "a flow in its wording"
    LEANS_ENERGY = "leans_energy", Aspect.WORDING, Cell.ENERGY, "energy-based in its wording"
    LEANS_NOTHING = "leans_not_generative", Aspect.WORDING, Cell.NOT_GENERATIVE, "not generative in its wording"
    # property
    GENERATES = "generates", Aspect.PROPERTY, None, "makes new examples"
    DISTILLED = "distilled", Aspect.PROPERTY, None, "distilled to few steps"
    ONE_STEP = "one_step", Aspect.PROPERTY, None, "one network evaluation suffices"
    DISCRETE = "discrete", Aspect.PROPERTY, None, "its states are discrete"
    BITS = "bits", Aspect.PROPERTY, None, "its objective is the bound itself"
    SOLVES_ODE = "solves_ode", Aspect.PROPERTY, None, "an ODE is integrated for likelihood or samples"
    SEQUENTIAL_INVERSE = "sequential_inverse", Aspect.PROPERTY, None, "the inverse runs dimension by dimension"
    SEQUENTIAL_DECODER = "sequential_decoder", Aspect.PROPERTY, None, "its decoder or state runs step by step"
    HEAD_PER_PIECE = "head_per_piece", Aspect.PROPERTY, None, "each token is drawn by an inner sampler"
    BLOCKS = "blocks", Aspect.PROPERTY, None, "block after block"
    WASSERSTEIN = "wasserstein", Aspect.PROPERTY, None, "its critic estimates a Wasserstein distance"
    HINGE = "hinge", Aspect.PROPERTY, None, "its critic has a hinge loss"
    LEAST_SQUARES = "least_squares", Aspect.PROPERTY, None, "its critic has a least-squares loss"
    GIBBS = "gibbs", Aspect.PROPERTY, None, "groups of variables are drawn in turn, each given the others"
    NOISE_CONTRAST = "noise_contrast", Aspect.PROPERTY, None, "its energy is learned by telling data from noise"
    # promise: what a text says of itself against the textbook
    STABLE = "stable", Aspect.PROMISE, None, "that its training is stable"
    COVERS = "covers", Aspect.PROMISE, None, "that it misses no modes"
    NO_COLLAPSE = "no_collapse", Aspect.PROMISE, None, "that its posterior does not collapse"
    NO_DRIFT = "no_drift", Aspect.PROMISE, None, "that errors do not add up"
    SHARP = "sharp", Aspect.PROMISE, None, "that its samples are sharp"
    FEW_STEPS = "few_steps", Aspect.PROMISE, None, "that few evaluations suffice"
    EXACT = "exact", Aspect.PROMISE, None, "that its likelihood is exact"
    # part
    PART_PRIOR = "prior", Aspect.PART, None, "a prior over its latents"
    PART_HEAD = "head", Aspect.PART, None, "a head that draws each token"
    PART_DECODER = "decoder", Aspect.PART, None, "a decoder from tokens or latents"
    PART_UPSAMPLER = "upsampler", Aspect.PART, None, "a stage that raises the resolution"
    PART_RERANKER = "reranker", Aspect.PART, None, "a scorer that chooses among candidates"
    PART_CRITIC = "critic", Aspect.PART, None, "a discriminator that helps to train it"
    PART_AUTOENCODER = "autoencoder", Aspect.PART, None, "an autoencoder between data and latents"
    PART_TOKENIZER = "tokenizer", Aspect.PART, None, "a tokenizer or codec between data and tokens"
    PART_TEXT_ENCODER = "text_encoder", Aspect.PART, None, "a text encoder for conditioning"
    PART_VOCODER = "vocoder", Aspect.PART, None, "a vocoder from features to waveform"
    PART_TEACHER = "teacher", Aspect.PART, None, "a teacher it was distilled from"
    PART_LANGUAGE_MODEL = "language_model", Aspect.PART, None, "a language model for conditioning"
    PART_CLASSIFIER = "guiding_classifier", Aspect.PART, None, "a classifier that guides sampling"
    PART_CONTROL = "control_adapter", Aspect.PART, None, "a control network"
    PART_ADAPTER = "adapter", Aspect.PART, None, "a low-rank adapter"
    PART_NETWORK = "denoising_network", Aspect.PART, None, "the denoising network"
    PART_PREDICTOR = "pretrained_predictor", Aspect.PART, None, "a pretrained predictor it starts from"

    @property
    def speaks(self) -> bool:
        """True if it speaks for a cell by a statement, and not by wording alone."""
        return self.cell is not None and self.aspect is not Aspect.WORDING


CLAIMS: Mapping[str, Claim] = {claim.value: claim for claim in Claim}
"""Every claim by its name."""


@dataclass(frozen=True)
class Evidence:
    """One observation.

    Attributes:
        quote: the words, key or line, at most 160 characters, or a sentence of the catalogue.
        where: its place: ``file.md:12`` for a line, ``file.json: $.key``, ``file.ipynb: cell 3, line 2``, or
            ``offset 120`` of a bare text.
        claim: the claim that it supports.
        weight: how strongly, in votes. Zero for a quote that was set aside (a foil, a negation).
        kind: the reader that found it.
        form: the form of the quote, such as a passage or a comment.
        rule: the id of the rule that found it, where one did. For the wording as a whole the kind of text. For a part
            the cells whose systems may have it, where these are not all.
    """

    quote: str
    where: str
    claim: Claim
    weight: float
    kind: Reader
    form: Form = Form.PASSAGE
    rule: str = ""


def shortened(text: str, most: int = LONGEST_QUOTE) -> str:
    """The whole words of a text that fit into ``most`` characters."""
    words = " ".join(text.split())
    return words if len(words) <= most else words[: most + 1].rpartition(" ")[0] or words[:most]


OBJECTIVE_OF: Mapping[Cell, Claim] = {
    Cell.AUTOREGRESSIVE: Claim.NEXT_PIECE,
    Cell.LATENT_VARIABLE: Claim.BOUND,
    Cell.ADVERSARIAL: Claim.GAME,
    Cell.DIFFUSION: Claim.DENOISE,
    Cell.FLOW: Claim.CHANGE_OF_VARIABLES,
    Cell.ENERGY: Claim.ENERGY_CONTRAST,
    Cell.NOT_GENERATIVE: Claim.NOTHING_DRAWN,
}
"""The plainest objective of each cell, for a system that is known by its cell alone."""

SAMPLING_OF: Mapping[Cell, Claim] = {
    claim.cell: claim for claim in reversed(Claim) if claim.aspect is Aspect.SAMPLING and claim.cell
}
"""The plainest sampling procedure of each cell."""

LEANS: Mapping[Cell, Claim] = {claim.cell: claim for claim in Claim if claim.aspect is Aspect.WORDING and claim.cell}
"""The claim that a text's wording as a whole leans to a cell."""

DEFAULTS: Mapping[Cell, tuple[Kind, Cost | None]] = {
    cell: (FACTS[cell.paradigm].likelihood, FACTS[cell.paradigm].cost) if cell.paradigm else (Kind.NONE, None)
    for cell in Cell
}
"""The likelihood and the cost of a cell when nothing that was read says otherwise."""
