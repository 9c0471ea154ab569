"""The preset of autoregressive models of transcripts given sound, in sizes xs, s and m."""

from __future__ import annotations

from fourfold.codecs import LineTokens
from fourfold.core import GenerativeModel, Training
from fourfold.paradigms.autoregressive import Ancestral, ChainRule
from fourfold.recipes.autoregressive import texts
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Audio, Lines
from fourfold_speech.networks import SpeechTransformer
from fourfold_speech.paradigm import JointLikelihood, TranscriptConditionals

__all__ = ["transcripts"]

SIZES: Sizes[tuple[Size, int]] = Sizes(
    {"xs": (Size(64, 3, 2), 1), "s": (Size(144, 5, 4), 2), "m": (Size(256, 8, 4), 3)}
)
"""The encoder, and the layers of the decoder."""


@texts.register
def transcripts(given: Audio, space: Lines, size: str) -> GenerativeModel:
    """The tokens of a transcript, one after the other, given its sound."""
    encoder, decoder = SIZES[size]
    length = space.text.length
    net = SpeechTransformer(space.tokens, length, given.rate, encoder.width, encoder.depth, decoder, encoder.heads)
    estimand = TranscriptConditionals(net, length, space.end)
    training = Training(batch_size=16, learning_rate=2e-3, muon_rate=2e-2)
    objective = JointLikelihood(encoder.width, space.tokens)
    return GenerativeModel(space, LineTokens(space), estimand, objective, Ancestral(), ChainRule(), training)
