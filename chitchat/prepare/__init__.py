"""Corpus files to token stores: read, clean, leave out duplicates, split and tokenise in one go, cached by content."""

from chitchat.prepare.pipeline import WeightedCorpus, prepare

__all__ = ["WeightedCorpus", "prepare"]
