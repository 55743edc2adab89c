"""What a check says: a report of what was asserted, or an error with the smallest input that shows the fault."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.errors import UlamError
from ..render.receipt import counted
from .inputs import Probe


class ConformanceError(UlamError):
    """A promise that does not hold.

    promise  the claim, or the name of the check
    probe    the smallest input found that breaks it, or None where no single input does
    """

    exit_code = 6

    def __init__(self, subject: str, promise: str, what: str, probe: Probe | None = None):
        super().__init__(f"{subject} breaks {promise}: {what}" + (f"\n  {probe}" if probe else ""))
        self.promise, self.probe = promise, probe


@dataclass
class Report:
    """What was asserted of one subject.

    asserted        promise to the number of inputs it was asserted on
    not_applicable  promise to the reason why it was not
    understated     claims that held on every input although they are not made
    measured        what was measured on the way, with what is allowed
    """

    subject: str
    asserted: dict[str, int] = field(default_factory=dict)
    not_applicable: dict[str, str] = field(default_factory=dict)
    understated: tuple[str, ...] = ()
    measured: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.subject}: {sum(self.asserted.values())} assertions"]
        lines += [f"  {name:<16} {counted(count, 'input')}" for name, count in self.asserted.items()]
        lines += [f"  {name:<16} not applicable: {why}" for name, why in self.not_applicable.items()]
        lines += [f"  {name:<16} holds on every input, and is not claimed" for name in self.understated]
        lines += [f"  {name:<16} {found}" for name, found in self.measured.items()]
        return "\n".join(lines)

    def closed(self) -> Report:
        """The report, if it says anything. An empty one is an error."""
        if not sum(self.asserted.values()):
            raise ConformanceError(self.subject, "the check itself", "nothing was asserted")
        return self
