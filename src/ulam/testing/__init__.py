"""The conformance kit: check a method, a model or a noise of your own against everything it promises.

    import my_method                      # a module with one stage, CLAIMS and CASES, like those of `ulam.methods`
    from ulam.methods import read
    from ulam.testing import check_transform

    print(check_transform(read(my_method)))                           # a report of what was asserted
    check_transform(read(my_method), array=torch.asarray)             # the same on torch, in bfloat16, and compared with NumPy
    print(check_model(my_model))                                      # the rules of `LanguageModel`

Rows have 1 to 262144 tokens; of the widest only what costs a few images of one is asked. A promise that does not hold raises
`ConformanceError` with the smallest input found that shows it.

What cannot be enumerated (a fused kernel, a server, a large model) is compared with its law by many draws: `draws_match` and
its kin, in `ulam.testing.statistics`.
"""

from .check import check_chooser, check_claim, check_constraint, check_transform
from .check_model import check_model
from .check_noise import check_noise
from .noise import Asked, RefusingNoise, ScriptedNoise
from .report import ConformanceError, Report
from .statistics import Tally, agreements, calibration, calibration_miss, draws_match, draws_needed, miss_probability, two_way, two_way_miss

__all__ = [
    "Asked",
    "ConformanceError",
    "RefusingNoise",
    "Report",
    "ScriptedNoise",
    "Tally",
    "agreements",
    "calibration",
    "calibration_miss",
    "check_chooser",
    "check_claim",
    "check_constraint",
    "check_model",
    "check_noise",
    "check_transform",
    "draws_match",
    "draws_needed",
    "miss_probability",
    "two_way",
    "two_way_miss",
]
