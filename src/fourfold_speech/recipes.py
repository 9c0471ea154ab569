"""The preset of autoregressive models of transcripts given sound, in sizes xs, s and m."""

from __future__ import annotations

from fourfold.core import GenerativeModel, Training
from fourfold.paradigms.autoregressive import Ancestral, ChainRule
from fourfold.recipes.autoregressive import likelihood
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Audio, Lines
from fourfold_speech.codecs import TranscriptTokens
from fourfold_speech.networks import SpeechTransformer
from fourfold_speech.paradigm import JointLikelihood, TranscriptConditionals

__all__ = ["transcripts"]

SIZES: Sizes[tuple[Size, int]] = Sizes(
    {"xs": (Size(64, 3, 2), 1), "s": (Size(144, 5, 4), 2), "m": (Size(256, 8, 4), 3)}
)
"""The encoder, and the layers of the decoder."""


@likelihood.register
def transcripts(space: Lines, size: str) -> GenerativeModel:
    """The tokens of a transcript, one after the other, given its sound.

    Raises:
        TypeError: for transcripts without sounds.
    """
    if not isinstance(space.given, Audio):
        raise TypeError(
            f"texts are modelled given sounds, got {space.given or 'no condition'}: load sounds with transcripts"
        )
    encoder, decoder = SIZES[size]
    length = space.text.length
    net = SpeechTransformer(
        space.tokens, length, space.given.rate, encoder.width, encoder.depth, decoder, encoder.heads
    )
    estimand = TranscriptConditionals(net, length, space.end)
    training = Training(batch_size=16, learning_rate=2e-3, muon_rate=2e-2)
    objective = JointLikelihood(encoder.width, space.tokens)
    return GenerativeModel(space, TranscriptTokens(space), estimand, objective, Ancestral(), ChainRule(), training)
