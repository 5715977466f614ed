"""Registry: models, snapshots, promotions and their lineage."""
