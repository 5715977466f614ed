"""Subjects: publish, move, retire and reconcile galaxies on Zooniverse."""
