"""Campaigns and cycles: documents, policies, states, transitions and events."""
