"""Recipes: the law of the next token as a value, its text, its formats, and what it does to a row of logits."""

from .recipe import Choice, Recipe

__all__ = ["Choice", "Recipe"]
