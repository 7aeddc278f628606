"""Token stores to checkpoints."""
