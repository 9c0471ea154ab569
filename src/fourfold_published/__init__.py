"""A wing: published models of language and of images, and what is done with models of language.

It joins by entry points alone. Nothing is fetched, nothing is unpickled, and no code of a checkpoint runs.
"""
