"""Speech: models that write down what is said, trained on recordings or published as Whisper.

A wing of fourfold: it joins by entry points alone. The space :class:`~fourfold_speech.transcripts.Transcripts` reads
sounds with transcripts as texts given sound, and the recipe ``autoregressive`` models them.
"""
