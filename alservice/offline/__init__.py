"""Offline use: train, predict and evaluate on files alone."""
