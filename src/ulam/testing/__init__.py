"""The conformance kit: check a method or a noise of your own against everything it promises.

    import my_method                      # a module with one stage, CLAIMS and CASES, like those of `ulam.methods`
    from ulam.methods import read
    from ulam.testing import check_transform

    print(check_transform(read(my_method)))                           # a report of what was asserted
    check_transform(read(my_method), array=torch.asarray)             # the same on torch, and compared with NumPy

A promise that does not hold raises `ConformanceError` with the smallest input found that shows it.
"""

from .check import check_chooser, check_claim, check_transform
from .check_noise import check_noise
from .noise import Asked, RefusingNoise, ScriptedNoise
from .report import ConformanceError, Report

__all__ = ["Asked", "ConformanceError", "RefusingNoise", "Report", "ScriptedNoise", "check_chooser", "check_claim", "check_noise", "check_transform"]
