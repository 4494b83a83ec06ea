"""The few-shot classifier of the Reptile paper (Nichol et al. 2018, arXiv:1803.02999)."""
