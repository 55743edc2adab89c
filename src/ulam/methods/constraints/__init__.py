"""Constraints: which tokens may come. One file a method; the file's name is what the user types."""
