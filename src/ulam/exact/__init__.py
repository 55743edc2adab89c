"""Exact mode: a procedure's whole output law, by enumeration, and the distances between laws."""

from .enumerate import EnumeratingNoise
from .laws import Interval, Law, Outcome
from .mode import law

__all__ = ["EnumeratingNoise", "Interval", "Law", "Outcome", "law"]
