"""A run from its first event to its exit code."""

from __future__ import annotations

from ...decode import Run, TokenEvent, cancelling
from .output import Writer
from .progress import Progress

ROW_ERRORS = 3
INTERRUPTED = 130


def draw(run: Run, writer: Writer, progress: Progress) -> int:
    """Draw all of the run and write it; the exit code. What the run raises is told to the writer and raised again."""
    try:
        with cancelling(run):
            writer.start(run)
            for event in run:
                if isinstance(event, TokenEvent):
                    progress.count(tokens=1)
                    writer.token(event)
                else:
                    progress.count(samples=1)
                    writer.sample(event)
    except BaseException as fault:
        writer.fail(getattr(fault, "exit_code", 1), str(fault))
        raise
    finally:
        progress.stop()
    failed = [sample for sample in run.finished.values() if sample.error is not None]
    code = INTERRUPTED if run.cancelled else ROW_ERRORS if failed else 0
    writer.end(run, code, f"{len(failed)} of {run.n} samples ended in error: {failed[0].error}" if failed else None)
    return code
