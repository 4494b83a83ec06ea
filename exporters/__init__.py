"""Trained runs as SavedModels that adapt: weights, inner loop, guards, contract, warm-up."""
