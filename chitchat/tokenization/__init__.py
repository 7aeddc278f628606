"""Dialogues to token ids and training samples."""
