"""The commands `ledger`, `report` and `completion`: each returns an exit code; none burns."""

from __future__ import annotations

import argparse
from pathlib import Path

from parburn.cli.saying import hand_out, say
from parburn.errors import UsageError
from parburn.ledger_place import Place


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
    if options.ledger_command == "verify" and options.json:
        raise UsageError(
            "ledger verify --json needs --ports", hint="Without them it has one sentence to say."
        )
    path: Place | None = options.ledger
    match options.ledger_command:
        case "show":
            return put_out(show_text(path, filter_of(options), width=terminal_width()), show=say)
        case "history":
            story = story_text(path, options.word, batch=options.batch, width=terminal_width())
            return put_out(story, show=say)
        case "export":
            kept = path if isinstance(path, Path) else None
            return put_out(export_text(path, options.format), options.output, ledger=kept)
        case "verify":
            text = verify(path)
        case "backup":
            from parburn.ledger.backup import backup

            text = backup(path, options.file, overwrite=options.overwrite)
        case "init":
            text = maintenance.init(path, why=options.why)
        case "adopt":
            text = maintenance.adopt(path, why=options.why, first_free=options.first_free)
        case "move":
            from parburn.ledger.pool.moving import move  # here: psycopg is an extra

            text = move(path, options.to, options.why, abort=options.abort)
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
    say(text if text.endswith("\n") or not text else text + "\n")
    return 0


def report(options: argparse.Namespace) -> int:
    """Make a report from the ledger; see `ledger_report.report`."""
    from parburn.cli.ledger_report import report as make_report

    return make_report(options)


def completion(options: argparse.Namespace) -> int:
    """Print the script that lets a shell complete parburn's words, and return 0."""
    from argcomplete.shell_integration import shellcode

    hand_out(shellcode(["parburn"], shell=options.shell) + "\n")
    return 0
