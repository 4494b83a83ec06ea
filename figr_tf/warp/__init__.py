"""A generator that redraws the support: its geometry, network, training and trained form (docs/experiments.md)."""
