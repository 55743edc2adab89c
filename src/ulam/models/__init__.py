"""Models: the protocol, and one file a backend."""

from .load import load
from .protocol import LanguageModel
from .table import IID, Table, abc, alphabet

__all__ = ["IID", "LanguageModel", "Table", "abc", "alphabet", "load"]
