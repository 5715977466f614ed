"""Prefect flows, thin: each task opens the factory, calls one service and returns a small record.

The truth about a cycle is in SQL; Prefect's state is only how we got there, so losing its database loses no science.
"""
