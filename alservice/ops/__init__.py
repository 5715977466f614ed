"""Operation: dashboard figures, metrics, tokens and operators' acts."""
