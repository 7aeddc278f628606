"""Files to clean dialogues; knows nothing of tokens and imports no torch."""
