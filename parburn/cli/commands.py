"""The commands `ledger` and `completion`: each prints and returns an exit code; none burns."""

from __future__ import annotations

import argparse
from pathlib import Path

from parburn.cli.saying import hand_out, say
from parburn.errors import UsageError


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
        show = hand_out if options.ledger_command == "export" else say
        show(text if text.endswith("\n") or not text else text + "\n")
    return 0


def completion(options: argparse.Namespace) -> int:
    """Print the script that lets a shell complete parburn's words, and return 0."""
    from argcomplete.shell_integration import shellcode

    hand_out(shellcode(["parburn"], shell=options.shell) + "\n")
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
