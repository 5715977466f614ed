"""Backfill: replay the loop over recorded votes and measure what each policy saves."""
