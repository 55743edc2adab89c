"""Decoding: the one loop, as a generator of events, and what it returns."""

from .loop import Event, Interrupted, Run, SampleEvent, TokenEvent, cancelling, sample, stream
from .samples import Sample, Samples

__all__ = ["Event", "Interrupted", "Run", "Sample", "SampleEvent", "Samples", "TokenEvent", "cancelling", "sample", "stream"]
