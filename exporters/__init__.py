"""Packages a trained run as a SavedModel that adapts: meta-weights, inner loop, guards, contract,
warm-up requests.
"""
