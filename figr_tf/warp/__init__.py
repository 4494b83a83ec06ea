"""A network that redraws its support: FIGR's learned augmentation, and a row to compare with.

How it came about: docs/experiments.md.
"""
