"""Adapters: the only modules that touch the world; each gives back core records and raises typed errors."""
