"""A few-shot density model of line drawings (Reed et al. 2017, arXiv:1710.10304)."""
