"""Pure science: no input or output, clock, environment or global randomness; numpy only."""
