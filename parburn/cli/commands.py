"""The commands beside `run`: ports, ledger, completion. Each prints and returns an exit code; none burns."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parburn.cli.streams import silence_stdout
from parburn.errors import LinkError, ParburnError, UsageError
from parburn.job import Before

PROBE_DEADLINE_S = 30.0
PROBE_ATTEMPTS = 3
NO_CANDIDATES = "no USB serial port was found; is a board plugged in?"


def ports(options: argparse.Namespace) -> int:
    """List candidate ports, and with --probe the chips behind them; return 0, or 1 when a probe failed.

    Raises:
        UsageError: a pattern matches no port.
    """
    rows = _candidates(options.port_names)
    failed = False
    if options.probe:
        found = asyncio.run(_probe_all([row["port"] for row in rows], options.before))
        for row, (seen, error) in zip(rows, found, strict=True):
            row.update(seen, error=error)
            failed |= bool(error)
    if options.json:
        _say("".join(json.dumps({"event": "port", **row}) + "\n" for row in rows))
    elif rows:
        _say("".join(f"{_as_line(row)}\n" for row in rows))
    else:
        sys.stderr.write(f"parburn: {NO_CANDIDATES}\n")
    return 1 if failed else 0


def _candidates(names: Sequence[str]) -> list[dict[str, Any]]:
    from parburn.transport.ports import expand_ports, list_candidates, slots_of

    known = {info.port: info for info in list_candidates()}
    rows: list[dict[str, Any]] = []
    ports = expand_ports(names) if names else tuple(known)
    slots = slots_of(ports)
    for port in ports:
        info = known.get(port)
        usb = f"{info.vid:04x}:{info.pid:04x}" if info else ""
        text = info.description if info else ""
        rows.append({"port": port, "slot": slots[port], "usb": usb, "description": text})
    return rows


def _as_line(row: Mapping[str, Any]) -> str:
    text = f"{row['port']:<16} {row['usb'] or '-':<9} {row['slot']}  {row['description']}".rstrip()
    if row.get("error"):
        return f"{text}\n    {row['error']}"
    if row.get("chip"):
        text += f"\n    {row['chip']} {row['revision']}, {row['mac']}, {row['crystal_mhz']} MHz"
    return text


async def _probe_all(names: Sequence[str], before: Before) -> list[tuple[dict[str, Any], str]]:
    return await asyncio.gather(*(_probe(name, before) for name in names))


async def _probe(port: str, before: Before) -> tuple[dict[str, Any], str]:
    """Return what the chip says of itself, or why it does not."""
    from parburn.hardware.identify import identify
    from parburn.hardware.rom_loader import RomLoader
    from parburn.transport.open import open_stream

    try:
        stream = await open_stream(port)
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                rom = await RomLoader.connect(stream, before=before, attempts=PROBE_ATTEMPTS)
                device = await identify(rom, wanted="auto", blocks=lambda chip: (), extend=lambda chip: chip)
        finally:
            await stream.aclose()
    except TimeoutError:
        return {}, f"not identified within {PROBE_DEADLINE_S:g} s"
    except LinkError as error:
        return {}, str(error)
    except ParburnError as error:
        return {}, f"{error} {error.hint}".strip()
    return {
        "chip": device.chip.name,
        "revision": device.revision,
        "mac": device.identity.mac_text,
        "crystal_mhz": device.crystal_mhz,
    }, ""


def ledger(options: argparse.Namespace) -> int:
    """Do one action on the ledger and return 0; its text goes to stdout, or to the file of --output.

    Raises:
        ParburnError: the action was refused, or the ledger cannot be used.
    """
    from parburn.ledger import export, maintenance

    if options.ledger_command == "rebuild":
        from parburn.cli.rebuild import run_rebuild

        return run_rebuild(options)
    if options.ledger_command == "learn":
        from parburn.cli.rebuild import run_learn

        return run_learn(options)
    path: Path | None = options.ledger
    output: Path | None = getattr(options, "output", None)
    if output is not None:
        from parburn.cli.options import writeable
        from parburn.run.overwriting import KeptFiles

        KeptFiles(ledgers=(path,) if path is not None else ()).refuse(output, "--output")
        writeable(output, "--output")
    match options.ledger_command:
        case "show":
            text = export.show(path)
        case "export":
            text = export.export(path, options.format)
        case "verify":
            text = export.verify(path)
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
    if output is not None:
        _write(output, text)
    else:
        _say(text if text.endswith("\n") or not text else text + "\n")
    return 0


def completion(options: argparse.Namespace) -> int:
    """Print the script that lets a shell complete parburn's words, and return 0."""
    from argcomplete.shell_integration import shellcode

    _say(shellcode(["parburn"], shell=options.shell) + "\n")
    return 0


def _write(output: Path, text: str) -> None:
    from parburn.ui.report import replace_file

    try:
        replace_file(output, text)
    except OSError as error:
        raise UsageError(
            f"--output: {output} cannot be written: {error.strerror or error}",
            hint="Choose another place; the ledger is as it was.",
        ) from error


def _say(text: str) -> None:
    """Print. Raises UsageError where it cannot be written; a reader that has gone is no mistake."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        raise UsageError(
            f"what was to be shown cannot be written: {error.strerror or error}",
            hint="Write it somewhere else.",
        ) from error
