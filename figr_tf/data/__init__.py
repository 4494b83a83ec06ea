"""Data sets, their splits, and support sets from files."""
