"""The cleaning rules: what is rewritten, what is dropped."""
