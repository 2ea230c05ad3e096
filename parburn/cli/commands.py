"""The commands beside `run`: ports, ledger, report, completion. Each returns an exit code; none burns."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parburn.cli.output import say
from parburn.errors import InternalError, NoAnswer, ParburnError, UsageError
from parburn.job import Before

PROBE_DEADLINE_S = 30.0
PROBE_ATTEMPTS = 3
NO_CANDIDATES = "no USB serial port was found; is a board plugged in?"
PROBING = "moves the reset lines of these ports and sends a SYNC to each, nothing is burned:"
NOT_PROBED = (
    "not probed: its USB id is none of those that boards with these chips have; name the port to probe it"
)
NOTHING_PROBED = "no port was probed: none has a USB id of those that boards with these chips have; name one"


def ports(options: argparse.Namespace) -> int:
    """List candidate ports, and with --probe the chips behind them; return 0, or 1 when a probe failed.

    Raises:
        UsageError: a pattern matches no port.
    """
    rows = _candidates(options.port_names)
    failed = False
    if options.probe and rows:
        _tell_probed(rows)
        probed = [row for row in rows if row["probed"]]
        names = [row["port"] for row in probed]
        found = asyncio.run(_probe_all(names, options.before, debug=bool(getattr(options, "debug", False))))
        for row, (seen, error) in zip(probed, found, strict=True):
            row.update(seen, error=str(error or ""), hint=error.hint if error else "")
            failed |= error is not None
    elif not options.probe:
        for row in rows:
            del row["probed"]
    if options.json:
        say("".join(json.dumps({"event": "port", **row}) + "\n" for row in rows))
    elif rows:
        say("".join(f"{_as_line(row)}\n" for row in rows))
    else:
        sys.stderr.write(f"parburn: {NO_CANDIDATES}\n")
    return 1 if failed else 0


def _tell_probed(rows: Sequence[Mapping[str, Any]]) -> None:
    """Say what is done to which ports before it is done: another device may not like it."""
    names = " ".join(row["port"] for row in rows if row["probed"])
    sys.stderr.write(f"parburn: {PROBING} {names}\n" if names else f"parburn: {NOTHING_PROBED}\n")


def _candidates(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a port; `probed`: it was named, or boards with these chips have such USB devices."""
    from parburn.transport.ports import expand_ports, list_candidates
    from parburn.transport.slots import slots_of

    known = {info.port: info for info in list_candidates()}
    rows: list[dict[str, Any]] = []
    ports = expand_ports(names) if names else tuple(known)
    slots = slots_of(ports)
    for port in ports:
        info = known.get(port)
        usb = f"{info.vid:04x}:{info.pid:04x}" if info else ""
        text = info.description if info else ""
        probed = bool(names) or (info is not None and info.may_hold_chip)
        rows.append({"port": port, "slot": slots[port], "usb": usb, "description": text, "probed": probed})
    return rows


def _as_line(row: Mapping[str, Any]) -> str:
    text = f"{row['port']:<16} {row['usb'] or '-':<9} {row['slot']}  {row['description']}".rstrip()
    if row.get("error"):
        return f"{text}\n    {row['error']}" + (f"\n    hint: {row['hint']}" if row["hint"] else "")
    if row.get("chip"):
        text += f"\n    {row['chip']} {row['revision']}, {row['mac']}, {row['crystal_mhz']} MHz"
    elif not row.get("probed", True):
        text += f"\n    {NOT_PROBED}"
    return text


async def _probe_all(
    names: Sequence[str], before: Before, *, debug: bool
) -> list[tuple[dict[str, Any], ParburnError | None]]:
    from parburn.cli import background

    with background.told(background.on_stderr, debug=debug):
        return await asyncio.gather(*(_probed(name, before) for name in names))


async def _probed(port: str, before: Before) -> tuple[dict[str, Any], ParburnError | None]:
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


async def _probe(port: str, before: Before) -> dict[str, Any]:
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


def ledger(options: argparse.Namespace) -> int:
    """Do one action on the ledger and return 0; its text goes to stdout, or to the file of --output.

    Raises:
        ParburnError: the action was refused, or the ledger cannot be used.
    """
    from parburn.cli.lookups import filter_of, story_text, terminal_width
    from parburn.cli.output import put_out
    from parburn.ledger import maintenance
    from parburn.ledger.export import export_text
    from parburn.ledger.show import show_text
    from parburn.ledger.verify import verify

    if options.ledger_command == "rebuild":
        from parburn.cli.rebuild import run_rebuild

        return run_rebuild(options)
    if options.ledger_command == "learn":
        from parburn.cli.rebuild import run_learn

        return run_learn(options)
    if options.ledger_command == "verify" and (options.ports or options.sim):
        from parburn.cli.verify_boards import run_verify_boards

        return run_verify_boards(options)
    path: Path | None = options.ledger
    match options.ledger_command:
        case "show":
            return put_out(show_text(path, filter_of(options), width=terminal_width()))
        case "history":
            story = story_text(path, options.word, batch=options.batch, width=terminal_width())
            return put_out(story)
        case "export":
            return put_out(export_text(path, options.format), options.output, ledger=path)
        case "verify":
            text = verify(path)
        case "init":
            text = maintenance.init(path, why=options.why)
        case "adopt":
            text = maintenance.adopt(path, why=options.why)
        case "release":
            if bool(options.mac) == options.all or (options.all and not options.batch):
                raise UsageError("release needs MACs, or --batch NAME --all", hint="Nothing was released.")
            every = options.batch if options.all else None
            text = maintenance.release(
                path,
                options.mac,
                why=options.why,
                all_of=every,
                trust_hidden_keys=options.trust_hidden_keys,
            )
        case "scrap":
            text = maintenance.scrap(path, options.mac, why=options.why)
        case _:
            text = maintenance.import_used(path, options.file, why=options.why, batch=options.batch)
    say(text)
    return 0


def report(options: argparse.Namespace) -> int:
    """Make a report from the ledger; see `ledger_report.report`."""
    from parburn.cli.ledger_report import report as make_report

    return make_report(options)


def completion(options: argparse.Namespace) -> int:
    """Print the script that lets a shell complete parburn's words, and return 0."""
    from argcomplete.shell_integration import shellcode

    say(shellcode(["parburn"], shell=options.shell) + "\n")
    return 0
