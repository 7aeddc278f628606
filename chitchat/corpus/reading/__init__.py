"""A file on disk to dialogues: bytes, encodings, formats."""
