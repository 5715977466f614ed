"""Votes: read classifications and reductions, count them into tallies."""
