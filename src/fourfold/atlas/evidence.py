"""Typed evidence: what was read, where it stands, and the claim it supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fourfold.vocabulary import Cost, Kind, Paradigm

__all__ = [
    "LEANS",
    "MEANING",
    "OBJECTIVE_OF",
    "Aspect",
    "Cell",
    "Claim",
    "Evidence",
    "Form",
    "Meaning",
    "Reader",
    "shortened",
]


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
    """Which of the questions a claim answers."""

    OBJECTIVE = "objective"
    SAMPLING = "sampling"
    NAMED = "named"
    PROPERTY = "property"
    WORDING = "wording"
    PART = "part"


class Reader(StrEnum):
    """Who found a piece of evidence; ``NAME`` is prior knowledge and never mixes with the others."""

    WORDS = "words"
    FILES = "files"
    CODE = "code"
    LIVE = "live"
    NAME = "name"


class Form(StrEnum):
    """What kind of thing was quoted: one passage or statement, a whole loop, or a comment beside code."""

    PASSAGE = "passage"
    LOOP = "loop"
    COMMENT = "comment"


class Claim(StrEnum):
    """What one piece of evidence says about a system."""

    NEXT_PIECE = "next_piece"
    BOUND = "bound"
    EXACT_LATENT = "exact_latent"
    GAME = "game"
    DENOISE = "denoise"
    VELOCITY = "velocity"
    CONSISTENCY = "consistency"
    MASKED_BOUND = "masked_bound"
    CHANGE_OF_VARIABLES = "change_of_variables"
    ENERGY_CONTRAST = "energy_contrast"
    LABELS = "labels"
    FEATURES = "features"
    REBUILD = "rebuild"
    REGRESSION = "regression"
    REWARD = "reward"
    ONE_BY_ONE = "one_by_one"
    DECODE_LATENT = "decode_latent"
    MAP_NOISE = "map_noise"
    ITERATE = "iterate"
    FILL_MASKS = "fill_masks"
    INVERT = "invert"
    CHAIN = "chain"
    NOTHING_DRAWN = "nothing_drawn"
    CALLED_AUTOREGRESSIVE = "called_autoregressive"
    CALLED_LATENT = "called_latent_variable"
    CALLED_ADVERSARIAL = "called_adversarial"
    CALLED_DIFFUSION = "called_diffusion"
    CALLED_FLOW = "called_flow"
    CALLED_ENERGY = "called_energy"
    LEANS_AUTOREGRESSIVE = "leans_autoregressive"
    LEANS_LATENT = "leans_latent_variable"
    LEANS_ADVERSARIAL = "leans_adversarial"
    LEANS_DIFFUSION = "leans_diffusion"
    LEANS_FLOW = "leans_flow"
    LEANS_ENERGY = "leans_energy"
    LEANS_NOTHING = "leans_not_generative"
    GENERATES = "generates"
    DISTILLED = "distilled"
    ONE_STEP = "one_step"
    DISCRETE = "discrete"
    BITS = "bits"
    SOLVES_ODE = "solves_ode"
    SEQUENTIAL_INVERSE = "sequential_inverse"
    SEQUENTIAL_DECODER = "sequential_decoder"
    CODE_GAME = "code_game"
    HEAD_PER_PIECE = "head_per_piece"
    BLOCKS = "blocks"
    PART_AUTOENCODER = "autoencoder"
    PART_TOKENIZER = "tokenizer"
    PART_TEXT_ENCODER = "text_encoder"
    PART_VOCODER = "vocoder"
    PART_TEACHER = "teacher"
    PART_LANGUAGE_MODEL = "language_model"
    PART_CLASSIFIER = "guiding_classifier"
    PART_CONTROL = "control_adapter"
    PART_ADAPTER = "adapter"
    PART_NETWORK = "denoising_network"
    PART_PREDICTOR = "pretrained_predictor"


@dataclass(frozen=True)
class Meaning:
    """What a claim means: the question it answers, the cell it speaks for (if any), and a sentence."""

    aspect: Aspect
    cell: Cell | None
    says: str


@dataclass(frozen=True)
class Evidence:
    """One observation.

    Attributes:
        quote: the words, key or line, at most 160 characters.
        where: where it stands: ``file.md:12`` for a line, ``file.json: $.key``, ``file.ipynb: cell 3, line 2``, or ``offset 120`` of a bare text.
        claim: what it supports.
        weight: how strongly, in votes; zero for what was seen and set aside (a foil, a negation).
        kind: the reader that found it.
        form: what kind of thing the quote is.
        rule: which row of a table of phrases found it, where one did; a row keeps its name while its pattern stays.
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


def _rows(aspect: Aspect, *rows: tuple[Claim, Cell | None, str]) -> dict[Claim, Meaning]:
    return {claim: Meaning(aspect, cell, says) for claim, cell, says in rows}


MEANING: Mapping[Claim, Meaning] = {
    **_rows(
        Aspect.OBJECTIVE,
        (Claim.NEXT_PIECE, Cell.AUTOREGRESSIVE, "trained on the likelihood of each piece given the earlier ones"),
        (Claim.BOUND, Cell.LATENT_VARIABLE, "trained on a bound: reconstruction and a KL to a prior"),
        (Claim.EXACT_LATENT, Cell.LATENT_VARIABLE, "hidden variables summed out exactly, by EM or in closed form"),
        (Claim.GAME, Cell.ADVERSARIAL, "trained in a game against a discriminator or critic"),
        (Claim.DENOISE, Cell.DIFFUSION, "trained to predict noise, score or the clean example from a noised one"),
        (Claim.VELOCITY, Cell.DIFFUSION, "trained to regress a velocity between noise and data"),
        (Claim.CONSISTENCY, Cell.DIFFUSION, "trained to agree with itself or a teacher along a diffusion trajectory"),
        (
            Claim.MASKED_BOUND,
            Cell.DIFFUSION,
            "trained to restore masked or randomised symbols at every corruption level",
        ),
        (Claim.CHANGE_OF_VARIABLES, Cell.FLOW, "trained on the change-of-variables likelihood of an invertible map"),
        (
            Claim.ENERGY_CONTRAST,
            Cell.ENERGY,
            "trained to give data a low energy, by contrast with samples or by score matching",
        ),
        (Claim.LABELS, Cell.NOT_GENERATIVE, "trained to predict labels or scores: a classifier or detector"),
        (Claim.FEATURES, Cell.NOT_GENERATIVE, "trained to represent its input: an encoder"),
        (Claim.REBUILD, Cell.NOT_GENERATIVE, "trained to rebuild its input: a codec or autoencoder without a prior"),
        (Claim.REGRESSION, Cell.NOT_GENERATIVE, "trained to a single best answer: a deterministic regression"),
        (Claim.REWARD, Cell.NOT_GENERATIVE, "trained for reward, not to model data"),
    ),
    **_rows(
        Aspect.SAMPLING,
        (Claim.ONE_BY_ONE, Cell.AUTOREGRESSIVE, "draws piece after piece"),
        (Claim.DECODE_LATENT, Cell.LATENT_VARIABLE, "draws a latent from a prior and decodes it"),
        (Claim.MAP_NOISE, Cell.ADVERSARIAL, "maps noise once through a generator"),
        (Claim.ITERATE, Cell.DIFFUSION, "walks from noise to data in steps"),
        (Claim.FILL_MASKS, Cell.DIFFUSION, "fills masked symbols in over several rounds"),
        (Claim.INVERT, Cell.FLOW, "inverts the map on a draw from the base"),
        (Claim.CHAIN, Cell.ENERGY, "runs a Markov chain on the energy"),
        (Claim.NOTHING_DRAWN, Cell.NOT_GENERATIVE, "nothing is drawn"),
    ),
    **_rows(
        Aspect.NAMED,
        (Claim.CALLED_AUTOREGRESSIVE, Cell.AUTOREGRESSIVE, "its authors call it autoregressive or a language model"),
        (Claim.CALLED_LATENT, Cell.LATENT_VARIABLE, "its authors call it a latent-variable model"),
        (Claim.CALLED_ADVERSARIAL, Cell.ADVERSARIAL, "its authors call it adversarial"),
        (Claim.CALLED_DIFFUSION, Cell.DIFFUSION, "its authors call it diffusion, score-based or flow matching"),
        (Claim.CALLED_FLOW, Cell.FLOW, "its authors call it a normalizing flow"),
        (Claim.CALLED_ENERGY, Cell.ENERGY, "its authors call it energy-based"),
    ),
    **_rows(
        Aspect.WORDING,
        (Claim.LEANS_AUTOREGRESSIVE, Cell.AUTOREGRESSIVE, "worded as autoregressive systems are"),
        (Claim.LEANS_LATENT, Cell.LATENT_VARIABLE, "worded as latent-variable systems are"),
        (Claim.LEANS_ADVERSARIAL, Cell.ADVERSARIAL, "worded as adversarial systems are"),
        (Claim.LEANS_DIFFUSION, Cell.DIFFUSION, "worded as diffusion systems are"),
        (Claim.LEANS_FLOW, Cell.FLOW, "worded as flows are"),
        (Claim.LEANS_ENERGY, Cell.ENERGY, "worded as energy-based systems are"),
        (Claim.LEANS_NOTHING, Cell.NOT_GENERATIVE, "worded as systems are that draw nothing"),
    ),
    **_rows(
        Aspect.PROPERTY,
        (Claim.GENERATES, None, "makes new examples"),
        (Claim.DISTILLED, None, "distilled to few steps"),
        (Claim.ONE_STEP, None, "one network evaluation suffices"),
        (Claim.DISCRETE, None, "its states are discrete"),
        (Claim.BITS, None, "its objective is the bound itself"),
        (Claim.SOLVES_ODE, None, "an ODE is integrated for likelihood or samples"),
        (Claim.SEQUENTIAL_INVERSE, None, "the inverse runs dimension by dimension"),
        (Claim.SEQUENTIAL_DECODER, None, "its decoder or state runs step by step"),
        (Claim.CODE_GAME, None, "codes are matched to the prior by a discriminator or a kernel"),
        (Claim.HEAD_PER_PIECE, None, "each piece is drawn by an inner sampler"),
        (Claim.BLOCKS, None, "block after block"),
    ),
    **_rows(
        Aspect.PART,
        (Claim.PART_AUTOENCODER, None, "an autoencoder between data and latents"),
        (Claim.PART_TOKENIZER, None, "a tokenizer or codec between data and tokens"),
        (Claim.PART_TEXT_ENCODER, None, "a text encoder for conditioning"),
        (Claim.PART_VOCODER, None, "a vocoder from features to waveform"),
        (Claim.PART_TEACHER, None, "a teacher it was distilled from"),
        (Claim.PART_LANGUAGE_MODEL, None, "a language model for conditioning"),
        (Claim.PART_CLASSIFIER, None, "a classifier that guides sampling"),
        (Claim.PART_CONTROL, None, "a control network"),
        (Claim.PART_ADAPTER, None, "a low-rank adapter"),
        (Claim.PART_NETWORK, None, "the denoising network"),
        (Claim.PART_PREDICTOR, None, "a pretrained predictor it starts from"),
    ),
}

#: The plainest objective of each cell, for what is known by its cell alone
OBJECTIVE_OF: Mapping[Cell, Claim] = {
    Cell.AUTOREGRESSIVE: Claim.NEXT_PIECE, Cell.LATENT_VARIABLE: Claim.BOUND, Cell.ADVERSARIAL: Claim.GAME, Cell.DIFFUSION: Claim.DENOISE,
    Cell.FLOW: Claim.CHANGE_OF_VARIABLES, Cell.ENERGY: Claim.ENERGY_CONTRAST, Cell.NOT_GENERATIVE: Claim.NOTHING_DRAWN,
}  # fmt: skip

#: The claim that a text's wording as a whole leans to a cell
LEANS: Mapping[Cell, Claim] = {
    meaning.cell: claim for claim, meaning in MEANING.items() if meaning.aspect is Aspect.WORDING and meaning.cell
}

#: What holds for a cell when nothing read says otherwise: kind of likelihood, and cost of a sample.
DEFAULTS: Mapping[Cell, tuple[Kind, Cost | None]] = {
    Cell.AUTOREGRESSIVE: (Kind.EXACT, Cost.LENGTH),
    Cell.LATENT_VARIABLE: (Kind.LOWER_BOUND, Cost.CONSTANT),
    Cell.ADVERSARIAL: (Kind.NONE, Cost.CONSTANT),
    Cell.DIFFUSION: (Kind.ESTIMATE, Cost.STEPS),
    Cell.FLOW: (Kind.EXACT, Cost.CONSTANT),
    Cell.ENERGY: (Kind.UNNORMALISED, Cost.CHAIN),
    Cell.NOT_GENERATIVE: (Kind.NONE, None),
}
