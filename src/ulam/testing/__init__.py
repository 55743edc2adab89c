"""The conformance kit: check a method or a noise of your own against everything it promises."""

from .check import check_chooser, check_claim, check_transform
from .check_noise import check_noise
from .noise import Asked, RefusingNoise, ScriptedNoise, law_of
from .report import ConformanceError, Report

__all__ = ["Asked", "ConformanceError", "RefusingNoise", "Report", "ScriptedNoise", "check_chooser", "check_claim", "check_noise", "check_transform", "law_of"]
