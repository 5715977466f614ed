"""Torch: networks, likelihoods, training, sampling. No input or output, no clock, no global randomness."""
