"""Web service: REST API, dashboard, Caesar's webhook and monitoring of one process."""

from __future__ import annotations
