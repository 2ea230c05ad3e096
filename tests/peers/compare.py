"""Compares parburn's outcome of a case with a peer's, and names each mismatch. Judges none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.peers.client import ChipState, Commands, FieldState, Outcome, Step, StepOutcome

SUMMARY_KEYS = (
    "name", "value", "raw_value", "readable", "writeable",
    "category", "block", "word", "pos", "efuse_type", "bit_len",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not the same on both sides.

    `kind`: verdict, block, listed, get, meaning, bits, readable, writeable, says, summary, or half-staged (a
    refusal of the peer left bits staged, which was taken back). `subject` is a field, block or command line;
    `message` is why one side refused the step, if one did (theirs, if both did), `said_here` why parburn did,
    and `asked` what the step asks.
    """

    kind: str
    chip: str
    peer: int
    case: str
    step: int
    subject: str
    ours: Any
    theirs: Any
    message: str = ""
    asked: str = ""
    said_here: str = ""

    def __str__(self) -> str:
        ours, theirs = (_short(value) for value in (self.ours, self.theirs))
        text = (
            f"{self.chip}: {self.case}, step {self.step} against {self.peer}.x: {self.kind} of {self.subject}"
        )
        return text + f": ours {ours}, theirs {theirs}" + (f" ({self.message})" if self.message else "")


def compare(
    case: str, chip: str, peer: int, steps: tuple[Step, ...], ours: Outcome, theirs: Outcome
) -> Iterator[Mismatch]:
    """Yield what differs, up to the first step after which the chips are two: another verdict, other bits.

    Steps that one side did not run, since its chip had fallen silent, are not compared.
    """

    def mismatch(step: int, kind: str, subject: str, our: Any, their: Any, message: str = "") -> Mismatch:
        asked = step_text(steps[step]) if step >= 0 else ""
        said_here = _reason(ours.steps[step]) if step >= 0 else ""
        return Mismatch(kind, chip, peer, case, step, subject, our, their, message, asked, said_here)

    for kind, subject, our, their in _states(ours.start, theirs.start):
        yield mismatch(-1, kind, subject, our, their)
    for number, (step, our_step, their_step) in enumerate(zip(steps, ours.steps, theirs.steps, strict=False)):
        subject = step_text(step)
        if their_step.half_staged:
            yield mismatch(number, "half-staged", subject, False, True, their_step.message)
        why = "" if our_step.accepted and their_step.accepted else _said_no(our_step, their_step)
        if our_step.accepted != their_step.accepted:
            yield mismatch(number, "verdict", subject, _verdict(our_step), _verdict(their_step), why)
            return
        if our_step.says is not None and their_step.says is not None:
            for our, their in _lines(our_step.says, their_step.says):
                yield mismatch(number, "says", subject, our, their)
        for kind, what, our, their in _states(our_step.state, their_step.state):
            yield mismatch(number, kind, what, our, their, why)
        if our_step.state.blocks != their_step.state.blocks:
            return


def step_text(step: Step) -> str:
    """What a step asks, as mismatches name it."""
    return "; ".join(step.lines) if isinstance(step, Commands) else " ".join(step.names)


def _verdict(step: StepOutcome) -> str:
    return "accepted" if step.accepted else "refused"


def _said_no(ours: StepOutcome, theirs: StepOutcome) -> str:
    """Why the one that refused did so; the originals' `crash` is told as such."""
    return _reason(ours if theirs.accepted else theirs)


def _reason(step: StepOutcome) -> str:
    return "" if step.accepted else f"{step.where}: {step.crash} {step.message}".replace("\n", " ")


def _lines(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for number in range(max(len(ours), len(theirs))):
        our = ours[number] if number < len(ours) else "(nothing)"
        their = theirs[number] if number < len(theirs) else "(nothing)"
        if our != their:
            yield our, their


def _states(ours: ChipState, theirs: ChipState) -> Iterator[tuple[str, str, Any, Any]]:
    for index in sorted({*ours.blocks, *theirs.blocks}):
        if ours.blocks.get(index) != theirs.blocks.get(index):
            yield "block", f"BLOCK{index}", _hex(ours.blocks.get(index)), _hex(theirs.blocks.get(index))
    if ours.fields is not None and theirs.fields is not None:
        yield from _fields(ours.fields, theirs.fields)
    if ours.summary is not None and theirs.summary is not None:
        yield from _summaries(ours.summary, theirs.summary)


def _fields(
    ours: Mapping[str, FieldState], theirs: Mapping[str, FieldState]
) -> Iterator[tuple[str, str, Any, Any]]:
    for name in sorted({*ours, *theirs}):
        our, their = ours.get(name), theirs.get(name)
        if our is None or their is None:
            yield "listed", name, our is not None, their is not None
            continue
        for kind in ("get", "meaning", "bits", "readable", "writeable"):
            one, other = getattr(our, kind), getattr(their, kind)
            if not same(one, other):
                yield kind, name, one, other


def _summaries(
    ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str, Any, Any]]:
    for name in sorted({*ours} & {*theirs}):  # a field that only one lists is told by `listed`
        for entry in SUMMARY_KEYS:
            one, other = ours[name].get(entry), theirs[name].get(entry)
            if not same(one, other):
                yield "summary", f"{name}.{entry}", one, other


def same(one: Any, other: Any) -> bool:
    """Equal and of one type: True is not 1, and 1 is not 1.0."""
    return type(one) is type(other) and one == other


def _hex(bits: int | None) -> str:
    return "(none)" if bits is None else f"0x{bits:x}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
