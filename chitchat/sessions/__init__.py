"""Conversations that last longer than one turn."""
