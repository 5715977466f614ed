"""Acquisition: score the pool, draw a batch with recorded inclusion probabilities, allot votes."""
