"""Transforms: logits to logits. One file a method; the file's name is what the user types."""
