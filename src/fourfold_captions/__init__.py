"""Captions: texts that describe examples, and models of pictures and their captions in both directions.

A wing of fourfold: it joins by entry points alone. Models of pictures given captions need no wing.
"""
