"""Synthetic sky: galaxies with known truth, and their images."""
