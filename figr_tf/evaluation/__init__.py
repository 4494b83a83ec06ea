"""How good few-shot samples are, so that copying cannot win (docs/evaluation.md)."""
