"""Many draws against a known law, for what cannot be enumerated, with a stated chance of a false alarm and of a miss.

    >>> from ulam.testing import draws_match, draws_needed, miss_probability
    >>> law = [0.5, 0.25, 0.125, 0.125, 0]       # what the sampler under test should draw from
    >>> warm = [0.44, 0.26, 0.15, 0.15, 0]       # a fault that the test must see
    >>> n = draws_needed(law, warm)
    >>> n, miss_probability(law, warm, n) <= 1e-6
    (8256, True)
    >>> print(draws_match([4150, 2050, 1020, 1036, 0], law).required("my sampler"))      # how often it drew each
    8256 draws, 4 cells: ok, p = 1, alpha = 1e-09
      support      p = 1        impossible outcomes: 0 drawn, 0 expected
      whole law    p = 1        G = 0.4, chi-square(3)
      tails        p = 1        the rarest, 0.5 together: 4106 drawn, 4128 expected
      each outcome p = 1        outcome 0: 4150 drawn, 4128 expected
    >>> draws_match([3640, 2150, 1230, 1236, 0], law).required("my sampler")
    Traceback (most recent call last):
    ulam.testing.report.ConformanceError: my sampler breaks whole law: G = 137.3, chi-square(3) (p = 4e-28, 8256 draws)

Rows of many different laws are compared by `calibration`; whether draws hang together by `two_way` and `agreements`. Each
has a miss probability of its own. scipy, of the extra `testing`, is loaded when a test is first made.
"""

from .calibration import calibration, calibration_miss
from .draws import draws_match, draws_needed, miss_probability
from .independence import agreements, two_way, two_way_miss
from .tally import Part, Tally

__all__ = [
    "Part",
    "Tally",
    "agreements",
    "calibration",
    "calibration_miss",
    "draws_match",
    "draws_needed",
    "miss_probability",
    "two_way",
    "two_way_miss",
]
