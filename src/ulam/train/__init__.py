"""Train a small model on your own text by cross-entropy (extra `transformers`)."""
