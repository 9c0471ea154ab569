"""Sound: recordings, models of them, and models that write down what is said, trained here or published as Whisper.

A wing of fourfold: it joins by entry points alone. Its space is :class:`~fourfold_speech.space.Audio`. The recipe
``autoregressive`` models texts (:class:`~fourfold.spaces.Lines`) given sounds.
"""
