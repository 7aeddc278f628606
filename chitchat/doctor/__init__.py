"""A training run examined before it starts."""
