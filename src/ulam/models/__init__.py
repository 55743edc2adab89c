"""Models: the protocol, and one file a backend."""

from .alphabet import alphabet, words
from .cached import CachedModel
from .extend import extend
from .function import FunctionModel
from .load import load
from .protocol import LanguageModel
from .table import IID, Markov, Table, Tree, abc

__all__ = ["IID", "CachedModel", "FunctionModel", "LanguageModel", "Markov", "Table", "Tree", "abc", "alphabet", "extend", "load", "words"]
