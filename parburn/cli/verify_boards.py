"""`parburn ledger verify --ports`: from options to what is told of each board, and an exit code.

=====  ==============================================================================================
5      a board differs from its record, is quarantined, or was scrapped
1      a board did not answer, has no record or not a whole one, is not whole, or holds more than recorded
0      all boards are as recorded: all was compared but for what the chip hides, as is told
=====  ==============================================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from parburn.cli import background
from parburn.cli.lookups import terminal_width
from parburn.cli.options import compare_job, simulated_groups
from parburn.cli.saying import say
from parburn.errors import UsageError
from parburn.job import Job
from parburn.ledger.file_location import boards_of
from parburn.ledger.show import folded
from parburn.recovery.verify_boards import BoardVerdict, Verdict, verify_boards

AS_RECORDED, NOT_ALL, DIFFERS = 0, 1, 5
# What each verdict means, and what to do.
_MEANS = {
    Verdict.SAME: "as recorded",
    Verdict.DIFFERS: "NOT as recorded: take it out of the line and mark it",
    Verdict.SCRAPPED: "SCRAPPED: it must not ship",
    Verdict.PARTLY: "NOT ALL of it can be compared: compare it with the ledger that it was burned with",
    Verdict.UNRECORDED: "as recorded, and there is more, from before or from another tool: look at it",
    Verdict.NOT_WHOLE: "its burn is not whole: run it again with its script and files",
    Verdict.NO_RECORD: "nothing is recorded of it",
    Verdict.NO_ANSWER: "not compared",
}
_NOTHING_DONE = "Nothing was burned, and nothing was written into the ledger."


def run_verify_boards(options: argparse.Namespace) -> int:
    """Compare boards with their records; return the exit code of the table above.

    Raises:
        ParburnError: the options or the ledger forbid it; no port was opened.
    """
    if options.ports and options.sim:
        raise UsageError("--ports and --sim do not go together", hint="Choose real boards or simulated ones.")
    if not options.sim:
        return _told(compare_job(options), options)
    if options.ledger is None:
        raise UsageError(
            "--sim needs the --ledger that its boards were burned with", hint="Their eFuses lie beside it."
        )
    from parburn.sim.processes import SimulatedBoards

    groups = simulated_groups(options.sim)
    job = compare_job(options, simulated_ports=())
    state = boards_of(options.ledger)
    with SimulatedBoards(groups, state=state) as boards:
        return _told(job._replace(ports=tuple(boards.ports)), options)


def _told(job: Job, options: argparse.Namespace) -> int:
    async def looked_at() -> list[BoardVerdict]:
        with background.told(background.on_stderr, debug=job.debug):
            return await verify_boards(job)

    verdicts = asyncio.run(looked_at())
    if options.json:
        say("".join(json.dumps(as_object(one)) + "\n" for one in verdicts))
    else:
        say("".join(_text(verdicts, terminal_width())))
    return exit_code(verdicts)


def exit_code(verdicts: Sequence[BoardVerdict]) -> int:
    """Return the exit code, by the table in the module's docstring."""
    found = {one.verdict for one in verdicts}
    if found & {Verdict.DIFFERS, Verdict.SCRAPPED}:
        return DIFFERS
    return AS_RECORDED if found == {Verdict.SAME} else NOT_ALL


def as_object(one: BoardVerdict) -> dict[str, Any]:
    """Return a board for `--json`."""
    told = one._asdict()
    comparison = told.pop("comparison")
    return {"event": "compared", **told, "verdict": one.verdict.value, **comparison._asdict()}


def _text(verdicts: Sequence[BoardVerdict], width: int) -> Iterator[str]:
    for one in verdicts:
        yield folded(f"{one.port}: {_MEANS[one.verdict]}", width)
        for line in _details(one):
            yield folded(line, width, indent=2)
    counts = Counter(one.verdict.value for one in verdicts)
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    yield folded(f"{len(verdicts)} board{'s' * (len(verdicts) > 1)}: {said}. {_NOTHING_DONE}", width)


def _details(one: BoardVerdict) -> Iterator[str]:
    if one.mac:
        place = f", index {one.index}" if one.index is not None else ""
        batch = f" of the batch {one.batch}, {one.state}" if one.batch else ""
        yield f"{one.chip} {one.mac}{place}{batch}"
    yield from one.comparison.missing
    yield from one.comparison.extra
    yield from (f"it holds {text}" for text in one.comparison.unrecorded)
    yield from one.comparison.not_compared
    if one.error:
        yield f"{one.error}{'. ' * bool(one.hint)}{one.hint}"
