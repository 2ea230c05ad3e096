"""`parburn ports`: which ports there are, in what state, and with --probe which chips are behind them.

It burns nothing; without --probe it opens nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from parburn.cli.saying import hand_out, say, tell
from parburn.cli.slots_ports import NamedPorts, named_ports
from parburn.errors import InternalError, NoAnswer, ParburnError, UsageError
from parburn.job import Before

Row = dict[str, Any]

PROBE_DEADLINE_S = 30.0
PROBE_ATTEMPTS = 3
LOOK_EACH_S = 0.5  # while watching; what is told has been seen twice
NO_CANDIDATES = "no USB serial port was found; is a board plugged in?"
PROBING = "moves the reset lines of these ports and sends a SYNC to each, nothing is burned:"
NOT_PROBED = (
    "not probed: its USB id is none of those that boards with these chips have; name the port to probe it"
)
NOTHING_PROBED = "no port was probed: none has a USB id of those that boards with these chips have; name one"
WATCHING = "watching; Ctrl-C ends it"
MARKS = {"there": "+", "gone": "-", "changed": "~"}


def ports(options: argparse.Namespace) -> int:
    """List candidate ports, and with --probe the chips behind them; return 0, or 1 when a probe failed.

    Raises:
        UsageError: a pattern matches no port, or two options do not go together.
    """
    names = [*options.port_names, *(options.more_ports or ()), *(options.ports or ())]
    if options.watch:
        if options.probe:
            raise UsageError("--watch and --probe do not go together", hint="--watch opens no port.")
        watch(names, as_json=options.json)
    rows = _rows(names)
    failed = False
    if options.probe and rows:
        _tell_probed(rows)
        probed = [row for row in rows if row["probed"]]
        ports = [row["port"] for row in probed]
        found = asyncio.run(probe_all(ports, options.before, debug=bool(getattr(options, "debug", False))))
        for row, (seen, error) in zip(probed, found, strict=True):
            row.update(seen, error=str(error or ""), hint=error.hint if error else "")
            failed |= error is not None
    elif not options.probe:
        for row in rows:
            del row["probed"]
    if options.json:
        hand_out("".join(_as_json(row) for row in rows))
    elif rows:
        say("".join(f"{_as_text(row)}\n" for row in rows))
    else:
        tell(f"parburn: {NO_CANDIDATES}\n")
    return 1 if failed else 0


def watch(names: Sequence[str], *, as_json: bool, rounds: int | None = None) -> None:
    """Tell which ports there are, and then each that comes, goes or changes, until it is interrupted.

    Args:
        names: Ports and patterns; none for all on USB.
        as_json: A JSON object a line.
        rounds: Look so many times; None: for ever.
    """
    tell(f"parburn: {WATCHING}\n")
    told: dict[str, Row] = {}
    before: dict[str, Row] | None = None
    while rounds is None or rounds > 0:
        now = {row["port"]: row for row in _rows(names, all_there=False)}
        for change, row in changes(told, now if before is None else _settled(before, now), now):
            _tell_change(change, row, as_json=as_json)
        before = now
        rounds = None if rounds is None else rounds - 1
        time.sleep(LOOK_EACH_S)


def _settled(before: Mapping[str, Row], now: Mapping[str, Row]) -> dict[str, Row]:
    """Return what was seen twice: a port that has just come gets its rights a moment later."""
    return {port: row for port, row in now.items() if before.get(port) == row}


def changes(
    told: dict[str, Row], settled: Mapping[str, Row], now: Mapping[str, Row]
) -> list[tuple[str, Row]]:
    """Return what is to be told, and note it in `told`."""
    found = [("gone", told.pop(port)) for port in [*told] if port not in now]
    for port, row in settled.items():
        if told.get(port) != row:
            found.append(("changed" if port in told else "there", row))
            told[port] = row
    return found


def _tell_change(change: str, row: Row, *, as_json: bool) -> None:
    shown = {name: value for name, value in row.items() if name != "probed"}
    if as_json:
        hand_out(_as_json({**shown, "change": change}))
    else:
        said = _as_text(shown) if change != "gone" else row["port"]
        say(f"{MARKS[change]} {said}\n")


def _tell_probed(rows: Sequence[Row]) -> None:
    """Say what is done to which ports before it is done: another device may not like it."""
    names = " ".join(row["port"] for row in rows if row["probed"])
    tell(f"parburn: {PROBING} {names}\n" if names else f"parburn: {NOTHING_PROBED}\n")


def _rows(names: Sequence[str], *, all_there: bool = True) -> list[Row]:
    """Return a row a port; `probed`: it was named, or boards with these chips have such USB devices.

    Args:
        names: Ports and patterns; none for all on USB.
        all_there: Else a pattern may match nothing, and a named port may be missing.

    Raises:
        UsageError: a pattern matches nothing, and `all_there`.
    """
    from parburn.transport.port_state import states_of
    from parburn.transport.ports import list_candidates
    from parburn.transport.slots import slots_of

    known = {info.port: info for info in list_candidates()}
    chosen = _expanded(names, all_there) if names else NamedPorts(tuple(known), {})
    named = chosen.ports
    slots, states = {**slots_of(named), **chosen.slots}, states_of(named)
    rows = []
    for port in named:
        info, state = known.get(port), states[port]
        if state.there or all_there:
            rows.append(
                {
                    "port": port,
                    "slot": slots[port],
                    "usb": f"{info.vid:04x}:{info.pid:04x}" if info else "",
                    "description": info.description if info else "",
                    **state._asdict(),
                    "probed": bool(names) or (info is not None and info.may_hold_chip),
                }
            )
    return rows


def _expanded(names: Sequence[str], all_there: bool) -> NamedPorts:
    if all_there:
        return named_ports(names)
    found: list[str] = []
    for name in names:
        try:
            named_ports([name])
        except UsageError:  # nothing matches it now
            continue
        found.append(name)
    return named_ports(found)


def _as_json(row: Row) -> str:
    return json.dumps({"event": "port", **row}) + "\n"


def _as_text(row: Row) -> str:
    lines = [f"{row['port']:<16} {row['usb'] or '-':<9} {row['slot']}  {row['description']}".rstrip()]
    lines += [text for text in [_state_text(row)] if text]
    if row.get("error"):
        lines += [row["error"], *([f"hint: {row['hint']}"] if row["hint"] else [])]
    elif row.get("chip"):
        lines.append(f"{row['chip']} {row['revision']}, {row['mac']}, {row['crystal_mhz']} MHz")
    elif not row.get("probed", True):
        lines.append(NOT_PROBED)
    return "\n    ".join(lines)


def _state_text(row: Row) -> str:
    """Return what is to be known of a port's state; empty where there is nothing to be said."""
    if not row["there"]:
        return "there is no such port"
    group = f" (it belongs to the group {row['group']})" if row["group"] else ""
    parts = [
        row["driver"],
        f"latency timer {row['latency_ms']} ms" if row["latency_ms"] is not None else "",
        "" if row["access"] else f"no rights to open it{group}",
        f"held by {row['holder']}" if row["holder"] else "",
        "ModemManager may open it" if row["modem_manager"] else "",
    ]
    return ", ".join(part for part in parts if part)


async def probe_all(
    names: Sequence[str], before: Before, *, debug: bool
) -> list[tuple[Row, ParburnError | None]]:
    """Return for each port what its chip says of itself, or why it does not."""
    from parburn.cli import background

    with background.told(background.on_stderr, debug=debug):
        return await asyncio.gather(*(probed(name, before) for name in names))


async def probed(port: str, before: Before) -> tuple[Row, ParburnError | None]:
    """Return what the chip says of itself, or why it does not. What goes wrong at a port stays there."""
    from parburn.transport.ports import told_of_reader

    error: ParburnError
    try:
        return await _probe(port, before), None
    except TimeoutError:
        error = NoAnswer(f"{port}: not identified within {PROBE_DEADLINE_S:g} s")
    except ParburnError as reason:
        error = reason
    except Exception as reason:  # a defect of ours must not take the other ports down
        return {}, InternalError(reason)
    await asyncio.to_thread(told_of_reader, port, error)
    return {}, error


async def _probe(port: str, before: Before) -> Row:
    from parburn.hardware.identify import identify
    from parburn.hardware.rom_loader import RomLoader
    from parburn.transport.open import open_stream

    stream = await open_stream(port)
    try:
        async with asyncio.timeout(PROBE_DEADLINE_S):
            rom = await RomLoader.connect(stream, before=before, attempts=PROBE_ATTEMPTS)
            device = await identify(rom, wanted="auto", blocks=lambda chip: (), extend=lambda chip: chip)
    finally:
        await stream.aclose()
    return {
        "chip": device.chip.name,
        "revision": device.revision,
        "mac": device.identity.mac_text,
        "crystal_mhz": device.crystal_mhz,
    }
