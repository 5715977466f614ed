"""Postgres: small, mutable, transactional state; rows never leave this package, core records do."""
