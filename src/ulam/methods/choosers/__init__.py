"""Choosers: a distribution and noise to a token. One file a method; the file's name is what the user types."""
