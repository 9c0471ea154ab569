"""The service of models of transcripts: what is said in a sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, final

from fourfold.runs.run import Run
from fourfold.runs.services import Input, Piece, Question, Service
from fourfold_speech.transcription import segments, transcript_parts

__all__ = ["Transcription"]


@final
class Transcription(Service):
    """A transcript, part by part."""

    title: ClassVar[str] = "Transcribe"
    reads: ClassVar[Input] = Input.SOUND

    def fits(self, run: Run) -> bool:
        try:
            transcript_parts(run.model)
        except TypeError:
            return False
        return True

    def answer(self, run: Run, question: Question) -> Iterator[Piece]:
        if question.file is None:
            raise ValueError("data must be a file of sound for a transcript, got none")
        for part in segments(run.model, question.file):
            yield Piece(part.text.strip(), start=part.start, end=part.end, nats=part.log_prob)
