"""Alembic migrations of the service's database; `alservice db upgrade` runs them."""
