"""Video: short clips of small frames, read from animations and arrays, and modelled in time.

A wing of fourfold: it joins by entry points alone. Recipes without a network of clips take that of images, for which
frames are channels.
"""
