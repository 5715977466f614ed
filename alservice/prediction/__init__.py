"""Prediction: posteriors of every galaxy of a catalogue."""
