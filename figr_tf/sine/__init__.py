"""Reptile on sine waves: the smallest system there is, and the one to read first."""
