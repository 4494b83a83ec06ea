"""How good few-shot samples are, measured so that copying the support cannot win
(docs/evaluation.md).
"""
