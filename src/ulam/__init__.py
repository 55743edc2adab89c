"""Sample text from a trained language model, and know exactly what you sampled."""

__version__ = "0.1.0"
