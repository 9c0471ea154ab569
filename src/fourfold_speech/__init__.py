"""Speech: models that write down what is said, trained on recordings or published as Whisper.

A wing of fourfold: it joins by entry points alone. The recipe ``autoregressive`` models texts
(:class:`~fourfold.spaces.Lines`) given sounds.
"""
