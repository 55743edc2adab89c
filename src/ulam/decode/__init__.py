"""Decoding: the one loop, as a generator of events, and what it returns; the score of any text."""

from .engine import Engine, EngineRun
from .loop import Event, Interrupted, Run, SampleEvent, TokenEvent, cancelling, sample, stream
from .samples import Sample, Samples
from .score import score
from .scored import Score

__all__ = [
    "Engine",
    "EngineRun",
    "Event",
    "Interrupted",
    "Run",
    "Sample",
    "SampleEvent",
    "Samples",
    "Score",
    "TokenEvent",
    "cancelling",
    "sample",
    "score",
    "stream",
]
