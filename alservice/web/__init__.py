"""What other programs and people reach over HTTP."""
