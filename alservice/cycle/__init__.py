"""Cycle: the steps of the loop, the lease they work under, and the report."""
