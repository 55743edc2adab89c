"""Models: the protocol, one file a backend, and models made out of models (`combine/`)."""

from .alphabet import alphabet, words
from .cached import CachedModel
from .chat import chat
from .combine import combinators, context_aware, contrastive, dola, ensemble, guidance, proxy
from .extend import extend
from .function import FunctionModel
from .load import load
from .protocol import LanguageModel
from .table import IID, Markov, Table, Tree, abc

__all__ = [
    "IID",
    "CachedModel",
    "FunctionModel",
    "LanguageModel",
    "Markov",
    "Table",
    "Tree",
    "abc",
    "alphabet",
    "chat",
    "combinators",
    "context_aware",
    "contrastive",
    "dola",
    "ensemble",
    "extend",
    "guidance",
    "load",
    "proxy",
    "words",
]
