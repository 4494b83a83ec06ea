"""Image files to arrays and arrays to pictures, on NumPy and Pillow alone: what clients share with the models."""
