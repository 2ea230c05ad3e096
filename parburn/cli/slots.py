"""`parburn slots learn|check|show`: the sockets of a rig by name. Burns nothing; `show` opens no port."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import select
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

from parburn.cli import background
from parburn.cli.ports import Row, probe_all, probed
from parburn.cli.saying import hand_out, say, tell
from parburn.errors import ParburnError, UsageError
from parburn.station.arrival_sources import every_tty, nodes_now
from parburn.station.slot_lock import held_slots
from parburn.station.slots_checking import (
    Answer,
    SocketCheck,
    controller_checks,
    doubles,
    look_at,
    with_answers,
)
from parburn.station.slots_file import MOST_SLOTS, Slot, SlotsFile, check_name, read_slots
from parburn.station.slots_learning import InputEnded, Learner
from parburn.station.slots_writing import write_slots
from parburn.station.statistics import LAST, SlotCounts, read_counts
from parburn.ui.prompt import lines_into

GOOD: Final = 0
SOME_NOT: Final = 1
NOTHING_WRITTEN: Final = "nothing was written"


def slots(options: argparse.Namespace) -> int:
    """Do what the command line asks for; return 0, or 1 where `check` finds something wrong.

    Raises:
        ParburnError: the file or an option is wrong, or another process works with these slots.
    """
    return {"learn": _learn, "check": _check, "show": _show}[options.slots_command](options)


# learn ----------------------------------------------------------------------------------------------


def _learn(options: argparse.Namespace) -> int:
    path: Path = options.file
    if path.exists() and not options.add:
        raise UsageError(
            f"{path} is there already",
            hint="--add adds to it, or learns slots of it anew; or name another file.",
        )
    if options.folder is not None and not options.folder.is_dir():
        raise UsageError(f"--folder: there is no folder {options.folder}")
    _check_input()
    with held_slots(path):
        known = read_slots(path).slots if path.exists() else ()
        names = iter(_names(options.names)) if options.names else _next_names(known)
        try:
            found, learned = asyncio.run(_learned(options, names, known))
        except InputEnded:
            raise UsageError(
                f"the input has ended before the last slot: {NOTHING_WRITTEN}", hint="q ends it, and writes."
            ) from None
        except KeyboardInterrupt:
            tell(f"\nparburn: {NOTHING_WRITTEN}\n")
            raise
        if not learned:
            raise UsageError(
                f"no slot was learned: {NOTHING_WRITTEN}", hint="Put a board into a socket when asked."
            )
        file = SlotsFile(path, found)
        write_slots(file, new=not path.exists())
        say(_table(look_at(file.slots)))
        say(f"{path}: {len(found)} slot{'s' * (len(found) > 1)}, {len(learned)} learned now\n")
    return GOOD


async def _learned(
    options: argparse.Namespace, names: Iterator[str], known: Sequence[Slot]
) -> tuple[tuple[Slot, ...], list[str]]:
    """Return all slots, and the names of those that were learned.

    Raises:
        InputEnded, ParburnError: as `Learner.learn`.
    """
    folder = None if options.folder is None else str(options.folder.absolute())
    answers: asyncio.Queue[str | None] = asyncio.Queue()

    async def mac_of(port: str) -> str:
        seen, error = await probed(port, options.before)
        if error is not None:
            raise error
        return str(seen["mac"])

    with background.told(background.on_stderr, debug=bool(getattr(options, "debug", False))):
        there = await asyncio.to_thread(nodes_now, folder)
        learner = Learner(
            names,
            known,
            source=every_tty(folder),
            answers=answers,
            probe=mac_of,
            say=lambda text: tell(f"{text}\n"),
        )
        with lines_into(answers, sys.stdin.fileno()):
            return await learner.learn(there), learner.learned


def _names(text: str) -> list[str]:
    """Return the names that `A1-A8,B1` means.

    Raises:
        UsageError: one is no name, or is there twice, or there are too many.
    """
    found: list[str] = []
    for part in text.split(","):
        ends = re.fullmatch(r"(.*?)(\d+)-(.*?)(\d+)", part.strip())
        if ends and ends[3] in ("", ends[1]):
            first, last, width = int(ends[2]), int(ends[4]), len(ends[2]) * ends[2].startswith("0")
            if not first <= last < first + MOST_SLOTS:
                raise UsageError(
                    f"--names {part.strip()} is no range of at most {MOST_SLOTS} names", hint="As A1-A8."
                )
            found += [check_name(f"{ends[1]}{number:0{width}d}") for number in range(first, last + 1)]
        else:
            found.append(check_name(part.strip()))
    if len(set(found)) < len(found):
        raise UsageError(f"--names {text} has a name twice", hint="Each slot has a name of its own.")
    return found


def _next_names(known: Sequence[Slot]) -> Iterator[str]:
    """Yield names that go on from those that are known: A1, A2, .. where there are none."""
    last = re.fullmatch(r"(.*?)(\d+)", known[-1].name) if known else None
    stem, number = (last[1], int(last[2]) + 1) if last else ("A", 1)
    taken = {slot.name.casefold() for slot in known}
    return (name for n in count(number) if (name := f"{stem}{n}").casefold() not in taken)


def _check_input() -> None:
    """Raise UsageError where nobody can type a line: who learns must be able to end it."""
    with suppress(OSError, ValueError, AttributeError):
        with select.epoll() as poll:  # does not take files and /dev/null
            poll.register(sys.stdin.fileno(), select.EPOLLIN)
        return
    raise UsageError(
        "there is no terminal to ask on", hint="Start it on a terminal, or give lines on its input."
    )


# check, show ----------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    file = read_slots(options.file)
    with held_slots(file.path):
        checks = look_at(file.slots)
        ports = [one.port for one in checks if one.port]
        asked = asyncio.run(probe_all(ports, options.before, debug=bool(getattr(options, "debug", False))))
        answers = {port: _answer(seen, error) for port, (seen, error) in zip(ports, asked, strict=True)}
        checks = with_answers(checks, answers)
    twice = list(doubles(checks))
    full = [warning for one in controller_checks(checks) if (warning := one.warning())]
    good = not twice and not any(one.fault() for one in checks)
    if options.json:
        hand_out("".join(_json_lines(checks)))
        hand_out(_line("checked", good=good, doubles=twice, warnings=full))
    else:
        say(_table(checks))
        say("".join(f"{text}\n" for text in [*_faults(checks), *twice]))
        say("".join(f"warning: {text}\n" for text in full))
        answering = sum(not one.fault() for one in checks)
        distinct = ", and all are distinct" if answering > 1 and not twice else ""
        say(f"{answering} of {len(checks)} sockets answer{distinct}\n")
    return GOOD if good else SOME_NOT


def _answer(seen: Row, error: ParburnError | None) -> Answer:
    if error is not None:
        return Answer(error=str(error), hint=error.hint)
    return Answer(seen["chip"], seen["mac"])


def _show(options: argparse.Namespace) -> int:
    checks = look_at(read_slots(options.file).slots)
    counts = read_counts(options.ledger) if options.ledger is not None else None
    if options.json:
        hand_out("".join(_json_lines(checks, counts)))
    else:
        say(_table(checks))
        if counts is not None:
            say("\n" + _counted(checks, counts))
    return GOOD


def _faults(checks: Sequence[SocketCheck]) -> Iterator[str]:
    for one in checks:
        if said := one.fault():
            hint = one.answer.hint if one.answer is not None else ""
            yield f"{one.slot.name}: {said}" + (f"\n    {hint}" if hint else "")


def _table(checks: Sequence[SocketCheck]) -> str:
    """Return a line a socket, under their titles."""
    return _columns([("slot", "port", "driver", "latency", "chip", "place"), *map(_row, checks)])


def _counted(checks: Sequence[SocketCheck], counts: Mapping[str, SlotCounts]) -> str:
    """Return what each socket has done, a line each, under their titles."""
    rows = [("slot", "boards", "passed", f"of the last {LAST}", "half of them in", "tried again", "failures")]
    for one in checks:
        done = _done(counts, one.slot)
        share, half_s = done.passed_of_last, done.p50_s
        failures = sorted(done.failures.items(), key=lambda kind: (-kind[1], kind[0]))
        rows.append(
            (
                done.slot,
                str(done.insertions),
                str(done.passes),
                "" if share is None else f"{share:.0f} %",
                "" if half_s is None else f"{half_s:.1f} s",
                str(done.retries),
                ", ".join(f"{count} {kind}" for kind, count in failures),
            )
        )
    return _columns(rows)


def _done(counts: Mapping[str, SlotCounts], slot: Slot) -> SlotCounts:
    """Return what a socket has done; zeros where it has done nothing."""
    return counts.get(slot.name, SlotCounts(slot.name))


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows under their titles; a column in which there is nothing is left out."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown = [column for column, width in enumerate(widths) if any(row[column] for row in rows[1:])]
    lines = ("  ".join(row[column].ljust(widths[column]) for column in shown).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def _row(one: SocketCheck) -> tuple[str, ...]:
    answer = one.answer or Answer()
    slot = one.slot
    how = f"{slot.kind}{f' {slot.presence}' * bool(slot.presence)}" if slot.kind != "plug" else ""
    more = "".join(f", also {place}" for place in slot.also)
    return (
        slot.name,
        one.port or "-",
        one.driver,
        "" if one.latency_ms is None else f"{one.latency_ms} ms",
        f"{answer.chip} {answer.mac}".strip(),
        f"{slot.place}{f' ({how})' * bool(how)}{more}",
    )


def _json_lines(
    checks: Sequence[SocketCheck], counts: Mapping[str, SlotCounts] | None = None
) -> Iterator[str]:
    for one in checks:
        slot = one.slot
        values: dict[str, Any] = {"slot": slot.name, **slot._asdict(), **one._asdict()}
        del values["name"], values["answer"]
        values |= {"slot": slot.name, "also": list(slot.also)}
        if counts is not None:
            done = _done(counts, slot)
            values["done"] = {
                "insertions": done.insertions,
                "passes": done.passes,
                "retries": done.retries,
                "failures": dict(done.failures),
                "passed_of_last": done.passed_of_last,
                "p50_s": done.p50_s,
            }
        yield _line("slot", **values, **(one.answer or Answer())._asdict(), fault=one.fault())


def _line(event: str, **values: Any) -> str:
    return json.dumps({"event": event, **values}) + "\n"
