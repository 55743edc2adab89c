"""Numbers, tables and a model's text for people."""
