"""Use cases: each joins one pure module to the world, which it sees only through ports."""
