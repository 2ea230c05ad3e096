"""The command line as argparse sees it: names, types and help. It checks no file and imports nothing heavy.

The bare form and `parburn run` share one table of options. In the `run` parser they have no defaults of their
own, so that `parburn --debug run ...` keeps what was said before the word `run`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from parburn import __version__
from parburn.cli.arm_options import add_arm
from parburn.cli.slots_options import add_slots
from parburn.cli.station_options import STATION_HELP, fill_station
from parburn.ledger_place import parse_address, parse_place

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from parburn.cli.mistyped import Mistake

BEFORE_MODES = ("default-reset", "usb-reset", "no-reset", "no-reset-no-sync")
AFTER_MODES = ("no-reset", "hard-reset", "soft-reset", "watchdog-reset")
OVERRIDES = {
    "allow-shared-records": "burn records of the config files although another batch has used them",
    "allow-changed-config": "go on although a record that a chip has got says something else now",
    "allow-other-batch": "burn a chip that carries an identity of another batch",
}
# The states of the ledger (`ledger.base.State`), and the word for units that are written off.
UNIT_STATES = (
    "pass", "incomplete", "quarantined", "failed-clean", "identified", "claimed", "planned",
    "burn-attempted", "burned", "verified", "locked", "scrapped",
)  # fmt: skip
SHELLS = ("bash", "zsh", "fish")

ALONE = (["--help"], ["-h"], ["--version"])  # nothing in them can be mistyped, and they are to be quick

EPILOG = """\
Burning is irreversible. Without --do-not-confirm the plans are shown and you are asked to type BURN.
Try it without hardware:  parburn --sim esp32s3:8 --scripts burn.py --configfiles ids.json --do-not-confirm
Exit codes: 0 all passed, 1 some boards failed, 2 bad input, 3 refused or not confirmed, 4 out of indexes,
5 a unit is quarantined, 6 the report could not be written, 130 interrupted.
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that colours its help on a terminal only, and answers mistakes in one sentence."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)  # other programs call us: a new option must not change them
        super().__init__(**options)

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]  # typeshed says SupportsWrite
        """Print the help, by rich-argparse when it goes to a terminal (rich costs 60 ms of import)."""
        out = sys.stdout if file is None else file
        if out.isatty():
            from rich_argparse import RawDescriptionRichHelpFormatter

            self.formatter_class = RawDescriptionRichHelpFormatter
        super().print_help(out)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """As argparse does it, but a help that cannot be written is told and no success."""
        try:
            (sys.stderr if file is None else file).write(message)
        except BrokenPipeError:
            raise
        except OSError as error:
            if file is sys.stdout:
                self.exit(2, f"parburn: what was to be shown cannot be written: {error.strerror or error}\n")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit 2."""
        from parburn.cli.mistyped import hint_for

        message = "".join(c if c.isprintable() else "?" for c in message)  # it repeats what was typed
        self.exit(2, f"parburn: {message}\n  hint: {hint_for(message, self)}\n")

    def refuse(self, mistake: Mistake) -> NoReturn:
        """Say what a command line of the originals is called here; exit 2."""
        from parburn.printable import printable

        self.exit(2, printable(f"parburn: {mistake.message}\n  hint: {mistake.hint}\n"))


def build_parser(words: Collection[str] | None = None) -> Parser:
    """Return the whole tree of parsers.

    Args:
        words: those of the command line: only what they can reach is filled in, to start faster. None: all.
    """

    def is_reached(command: str) -> bool:
        return words is None or command in words

    parser = Parser(
        prog="parburn",
        description="Burn the eFuses of many Espressif chips at once, from the scripts you already have.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="parburn [run] --ports P [P ...] --scripts S [S ...] [--configfiles F [F ...]] [options]\n"
        "       parburn [run] --ports P [P ...] --commands TEXT | --token [options]",
    )
    parser.add_argument("--version", action="version", version=f"parburn {__version__}")
    _add_run_options(parser, suppress=False)
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND", prog="parburn")
    run = commands.add_parser(
        "run", help="burn boards (the same as giving no command)", description="Burn boards."
    )
    if is_reached("run"):
        _add_run_options(run, suppress=True)
    for name, told in COMMANDS.items():
        # `parburn sim` hands everything on to the rig's own parser; its entry is for help and completion.
        own = commands.add_parser(name, help=told.help, add_help=name != "sim")
        if is_reached(name) and told.fill is not None:
            told.fill(own)
    return parser


LISTS = ("extend", "append", "append_const")  # actions whose values add up
AFTER_RUN = "_after_run"  # ends the names of lists that stand behind the word `run`


def _add_run_options(parser: Parser, *, suppress: bool) -> None:
    def add(group: argparse._ArgumentGroup, *names: str, **options: Any) -> argparse.Action:
        if suppress:
            options["default"] = argparse.SUPPRESS
            if options.get("action") in LISTS:  # argparse would let them replace what stands before `run`
                options["dest"] = options.get("dest", names[0][2:].replace("-", "_")) + AFTER_RUN
        return group.add_argument(*names, **options)

    boards = parser.add_argument_group("boards")
    ports = add(
        boards, "--ports", "--port", "-p", nargs="+", action="extend", metavar="P",
        help="serial ports, quoted patterns, slots:FILE, slots:FILE#A1-A8, socket://host:port or "
        "rfc2217://host:port",
    )  # fmt: skip
    ports.completer = _complete_ports  # type: ignore[attr-defined]  # argcomplete reads this attribute
    add(
        boards,
        "--sim",
        metavar="CHIP:N,...",
        help="burn simulated boards instead, as in esp32s3:8 or esp32:3,esp32c3:3",
    )
    chip = add(boards, "--chip", "-c", default="auto", metavar="CHIP,...",
               help="the only chips to burn, with commas between them; others are left untouched, and count "
               "for nothing (default: auto)")  # fmt: skip
    chip.completer = _complete_chips  # type: ignore[attr-defined]  # argcomplete reads this attribute
    add(
        boards,
        "--expect",
        type=_count,
        metavar="N",
        help="burn nothing unless N boards or more are identified",
    )
    add(
        boards,
        "--baud",
        "-b",
        default="115200",
        metavar="N|auto",
        help="raise the baud rate to N once connected; auto: to 921600 where that pays (default: 115200)",
    )
    add(boards, "--before", type=_dashed, choices=BEFORE_MODES, default="default-reset",
        help="how to reach the ROM loader (default: default-reset)")  # fmt: skip
    add(boards, "--after", "-a", type=_dashed, choices=AFTER_MODES, default="no-reset",
        help="what to do with a board that passed (default: no-reset)")  # fmt: skip
    add(
        boards,
        "--connect-attempts",
        type=_count,
        default=7,
        metavar="N",
        help="tries to connect (default: 7)",
    )
    add(boards, "--wait", type=_seconds, default=2.5, metavar="S",
        help="seconds that boards wait at least for one that does not answer; longer where they took longer "
        "themselves, or fewer than --expect are there (default: 2.5)")  # fmt: skip
    add(boards, "--max-burning", type=_count, metavar="N",
        help="boards that burn at one time, for weak hub supplies (default: all)")  # fmt: skip

    work = parser.add_argument_group("what to burn")
    add(work, "--scripts", nargs="+", action="extend", type=Path, metavar="S",
        help="scripts of `espefuse.py execute_scripts`, run once a board, in this order")  # fmt: skip
    add(work, "--commands", default="", metavar="TEXT",
        help="commands for each board, separated by ';', instead of --scripts or after them, as in "
        "\"burn_efuse NAME 1; summary\"; what they stage is burned once, after the last that burns. If all "
        "of them only show (summary, dump, get_custom_mac, adc_info, check_error), what they print is always "
        "shown, nothing is asked and no index is spent")  # fmt: skip
    add(work, "--token", action="store_true",
        help="read the boards, print a line `port token` for each (EFSR, as espefuse 5.6) and burn nothing; "
        "keys that can still be read are left out of it without --show-sensitive-info")  # fmt: skip
    add(work, "--configfiles", nargs="+", action="extend", type=Path, metavar="F",
        help="files that the scripts read as args.configfiles")  # fmt: skip
    add(work, "--records", nargs="+", action="extend", metavar="FILE=FORM",
        help="how records lie in a config file that names no indexes: row, line, item, section, column:NAME "
        "(it holds the index) or none (shared data); said once, the batch remembers it")  # fmt: skip
    add(work, "--index", type=index_range, default=(1, None), metavar="A[-B]",
        help="lowest and highest index to give out (default: 1, no end)")  # fmt: skip
    add(work, "--extend-efuse-table", action="append", metavar="[CHIP=]CSV",
        help="custom eFuse table, for one chip or for all")  # fmt: skip
    add(work, "--script-timeout", type=_seconds, default=60.0, metavar="S",
        help="seconds a script may run (default: 60)")  # fmt: skip
    add(work, "--allow-fixed-index", action="store_true",
        help="let a nested execute_scripts name an index of its own")  # fmt: skip
    add(work, "--one-at-a-time", action="store_true",
        help="a board's script begins when the one before has ended: for state in files")  # fmt: skip

    safety = parser.add_argument_group("safety and record")
    add(
        safety,
        "--dry-run",
        action="store_true",
        help="show what would be burned; burn nothing, spend no index",
    )
    add(safety, "--do-not-confirm", action="store_true", help="do not ask before burning")
    add(
        safety,
        "--ledger",
        type=parse_place,
        metavar="PLACE",
        help="the record of what was burned: a file (default: in your state folder), or the pool of several "
        "stations, postgresql://...",
    )
    add(safety, "--new-ledger", action="store_true",
        help="make the ledger where none is yet: if no other one knows this product's boards")  # fmt: skip
    add(
        safety,
        "--batch",
        metavar="NAME",
        help="name of the index space (default: the content of the config files)",
    )
    add(
        safety,
        "--shares-with",
        metavar="BATCH",
        help="chips of that batch may carry equal records and values (two chips of one product)",
    )
    add(safety, "--same", action="append", metavar="FIELD",
        help="a value that may be equal on several chips: a field, a block, or BLOCK3[64:96]; remembered for "
        "the batch")  # fmt: skip
    add(safety, "--unique", action="append", metavar="FIELD[+FIELD...]",
        help="a value that is each chip's own, also a flag or a key; parts of one number joined by +; "
        "remembered for the batch")  # fmt: skip
    for name, text in OVERRIDES.items():
        add(safety, f"--{name}", dest="overrides", action="append_const", const=name, help=text)
    add(safety, "--report", type=Path, metavar="FILE|FOLDER",
        help="append a row a board to FILE.csv or FILE.jsonl, or to a new file in FOLDER")  # fmt: skip
    add(safety, "--operator", metavar="NAME",
        help="who burns, for the record (default: PARBURN_OPERATOR)")  # fmt: skip
    add(safety, "--station", metavar="NAME",
        help="where, for the record (default: PARBURN_STATION, else this machine's name)")  # fmt: skip
    add(
        safety,
        "--trace",
        type=Path,
        metavar="FILE",
        help="write the bytes of each conversation, key words masked",
    )

    shown = parser.add_argument_group("what is shown")
    add(shown, "--json", action="store_true", help="one JSON object a line on stdout, nothing else there")
    add(shown, "--quiet", "-q", action="store_true", help="only warnings, results and the summary")
    add(shown, "--verbose", "-v", action="store_true",
        help="in a pipe or a file: a line for each step, too")  # fmt: skip
    add(
        shown,
        "--show-output",
        action="store_true",
        help="show what the scripts print (else only for failed boards)",
    )
    add(
        shown,
        "--show-sensitive-info",
        action="store_true",
        help="let commands of a script print key material",
    )
    add(
        shown,
        "--debug",
        "-d",
        action="store_true",
        help="tracebacks, and one line for each step instead of the table",
    )


def _add_ports(parser: Parser) -> None:
    parser.description = (
        "List the ports that may hold a chip: slot, USB id, driver, latency, rights, and who has them open."
    )
    parser.add_argument(
        "port_names", nargs="*", metavar="P", help="only these ports or patterns (default: USB ports)"
    )
    parser.add_argument("--ports", "--port", "-p", nargs="+", action="extend", dest="more_ports", metavar="P",
                        help="the same")  # fmt: skip
    parser.add_argument(
        "--watch",
        action="store_true",
        help="then tell each port that comes, goes or changes, until Ctrl-C; opens none",
    )
    parser.add_argument("--before", type=_dashed, choices=BEFORE_MODES, default=argparse.SUPPRESS,
                        help="how to reach the ROM loader when probing")  # fmt: skip
    parser.add_argument(
        "--probe",
        action="store_true",
        help="identify the chips: open the ports, move their reset lines, send a SYNC; burns nothing. "
        "Without names only where the USB id is one that boards with these chips have",
    )
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object a line"
    )
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="tracebacks")


LEDGER_HELP: Final = "the ledger's file, or the pool of several stations: postgresql://..."


def _add_ledger(parser: Parser) -> None:
    parser.description = (
        "Look at the record of what was burned, and correct it when the world around it changed."
    )
    parser.add_argument(
        "--ledger", type=parse_place, default=argparse.SUPPRESS, metavar="PLACE", help=LEDGER_HELP
    )
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="tracebacks")
    actions = parser.add_subparsers(
        dest="ledger_command", metavar="ACTION", required=True, prog="parburn ledger"
    )

    def action(name: str, text: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=text, description=text)
        sub.add_argument(
            "--ledger", type=parse_place, default=argparse.SUPPRESS, metavar="PLACE", help=LEDGER_HELP
        )
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="tracebacks")
        return sub

    def because(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--why", required=True, metavar="TEXT", help="the reason, kept in the record")

    _add_filters(action("show", "Print units, indexes and states; without a filter the last 50, and totals."))
    history = action("history", "Tell the life of one unit: values, keys, locks, and each step with its run.")
    history.add_argument(
        "word",
        metavar="MAC|INDEX|VALUE",
        help="its factory MAC, its index, or a value such as its custom MAC",
    )
    history.add_argument("--batch", default=argparse.SUPPRESS, metavar="NAME", help="units of this batch")
    export = action("export", "Print the record for other programs.")
    export.add_argument("--format", choices=("json", "csv"), default="json", help="default: json")
    export.add_argument("--output", "-o", type=Path, metavar="FILE", help="write to FILE instead of stdout")
    verify = action(
        "verify",
        "Check the chain of history, the units and the witness. With --ports: read these boards and compare "
        "each with its record; nothing is burned.",
    )
    _add_boards(verify)
    verify.add_argument("--extend-efuse-table", action="append", default=argparse.SUPPRESS,
                        metavar="[CHIP=]CSV", help="as for a run: its fields get their names")  # fmt: skip
    verify.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="with --ports: one JSON object a line"
    )
    backup = action("backup", "Copy the ledger to a file, while runs and stations go on.")
    backup.add_argument("file", type=Path, metavar="FILE", help="where the copy will be")
    backup.add_argument("--overwrite", action="store_true", help="replace an older backup in that place")
    because(action("init", "Begin a new, empty ledger."))
    adopt = action("adopt", "Accept a ledger that is older, moved, foreign, or a backup.")
    because(adopt)
    adopt.add_argument("--first-free", type=int, metavar="N",
                       help="of a pool: the lowest index that was surely given to no chip")  # fmt: skip
    move = action("move", "Make a pool of the ledger's file, with all that it knows.")
    because(move)
    move.add_argument("--to", required=True, type=parse_address, metavar="ADDRESS",
                      help="postgresql://OWNER@HOST/DATABASE: a database that has no pool")  # fmt: skip
    move.add_argument("--abort", action="store_true",
                      help="take a move back that was begun and of which nothing is there")  # fmt: skip
    release = action("release", "Let units be tried again with their own indexes.")
    release.add_argument("mac", nargs="*", metavar="MAC")
    release.add_argument(
        "--batch", default=argparse.SUPPRESS, metavar="NAME", help="with --all: of which batch"
    )
    release.add_argument("--all", action="store_true", help="every unit of the batch that is quarantined")
    release.add_argument(
        "--trust-hidden-keys",
        action="store_true",
        help="vouch for keys that `ledger rebuild` could not read; the next run verifies all else",
    )
    because(release)
    scrap = action("scrap", "Write dead boards off; their indexes and records stay spent.")
    scrap.add_argument("mac", nargs="+", metavar="MAC")
    because(scrap)
    used = action("import-used", "Take over what another ledger or another tool gave out.")
    used.add_argument("file", type=Path, metavar="FILE",
                      help="a ledger, an export of one, or lines of N, A-B or N,CHIP,MAC")  # fmt: skip
    used.add_argument("--batch", default=argparse.SUPPRESS, metavar="NAME", help="of which index space")
    because(used)
    learn = action("learn", "Compute from its records what an older ledger's batch holds; opens no port.")
    _add_what_was_burned(learn)
    _allow_side_effects(learn)
    because(learn)
    _add_rebuild(
        action("rebuild", "After a lost ledger: read boards, and bind each to the record it carries.")
    )


def _add_report(parser: Parser) -> None:
    parser.description = (
        "Make a report of what runs did, from the ledger: a row for each unit and each run that it was in."
    )
    add = parser.add_argument
    add("of_batch", nargs="?", metavar="BATCH", help="only units of this batch (default: all)")
    add("--since", type=_moment, metavar="T",
        help="only what ended since then: 2026-11-29, '2026-11-29 06:40' (UTC), or 8h (ago)")  # fmt: skip
    add("--format", choices=("csv", "json"), default="csv", help="default: csv")
    add("--output", "-o", type=Path, metavar="FILE", help="write to FILE instead of stdout")
    add("--ledger", type=parse_place, default=argparse.SUPPRESS, metavar="PLACE", help=LEDGER_HELP)
    add("--debug", action="store_true", default=argparse.SUPPRESS, help="tracebacks")


def _add_filters(sub: argparse.ArgumentParser) -> None:
    """Add the options that say which units are meant: those for which all of them hold."""
    add = sub.add_argument
    add("--mac", metavar="MAC", help="the chip with this factory MAC")
    add("--index", dest="indexes", type=closed_range, metavar="A[-B]", help="this index, or from A to B")
    add("--value", metavar="[NAME=]VALUE", help="the unit that carries this value, as its custom MAC")
    add("--state", dest="states", action="append", type=str.lower, choices=UNIT_STATES, metavar="STATE",
        help=f"units in this state; may be given again. One of {', '.join(UNIT_STATES)}")  # fmt: skip
    add("--batch", default=argparse.SUPPRESS, metavar="NAME", help="units of this batch")
    add("--since", type=_moment, metavar="T",
        help="changed since then: 2026-11-29, '2026-11-29 06:40' (UTC), or 8h (ago)")  # fmt: skip


def closed_range(text: str) -> tuple[int, int]:
    """Return `A` or `A-B` as (first, last), where `A` is one index.

    Raises:
        ArgumentTypeError: as `index_range`.
    """
    first, last = index_range(text)
    return first, first if last is None else last


def _moment(text: str) -> str:
    from parburn.cli.moments import moment

    return moment(text)


def _add_rebuild(sub: argparse.ArgumentParser) -> None:
    _add_boards(sub)
    _add_what_was_burned(sub)
    _allow_side_effects(sub)
    sub.add_argument("--why", required=True, metavar="TEXT", help="the reason, kept in the record")


def _add_boards(sub: argparse.ArgumentParser) -> None:
    """Add the options that say which boards are read, and how."""
    add = sub.add_argument
    add("--ports", "--port", "-p", nargs="+", action="extend", default=argparse.SUPPRESS, metavar="P",
        help="where the boards are; they are read, nothing is burned")  # fmt: skip
    add(
        "--sim", default=argparse.SUPPRESS, metavar="CHIP:N,...", help="the simulated boards of that --ledger"
    )
    add("--before", type=_dashed, choices=BEFORE_MODES, default=argparse.SUPPRESS,
        help="how to reach the ROM loader")  # fmt: skip


def _add_check(parser: Parser) -> None:
    parser.description = (
        "Run the scripts for every record of a batch, on chips that are none, and tell what would go wrong. "
        "Opens no port, looks at no ledger, burns nothing."
    )
    _add_what_was_burned(parser, needed=False)
    add = parser.add_argument
    add("job", nargs="?", type=Path, metavar="JOB.toml", help="a station's job file, instead of the options")
    add("--chip", default=None, metavar="CHIP[,CHIP...]", help="which chips will get the records")
    add("--commands", default=None, metavar="TEXT", help="commands instead of a script, as for a run")
    add("--jobs", type=_count, default=None, metavar="N", help="processes (default: one a processor)")
    add("--json", action="store_true", help="print JSON lines")
    _allow_side_effects(parser)


def _add_completion(parser: Parser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def _allow_side_effects(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--allow-side-effects",
        action="store_true",
        help="let the scripts write files, open sockets and start processes, once a record",
    )


def _add_what_was_burned(sub: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Add the options of a run that say what its boards were burned with."""

    def add(*names: str, **options: Any) -> None:
        sub.add_argument(*names, default=argparse.SUPPRESS, **options)

    sub.add_argument("--scripts", nargs="+", action="extend", type=Path, metavar="S", required=needed,
                     help="the scripts of the boards")  # fmt: skip
    add("--configfiles", nargs="+", action="extend", type=Path, metavar="F", help="their config files")
    add("--records", nargs="+", action="extend", metavar="FILE=FORM", help="as for a run")
    add("--extend-efuse-table", action="append", metavar="[CHIP=]CSV", help="as for a run")
    add("--index", type=index_range, metavar="A[-B]", help="only these indexes; needed without records")
    add("--batch", metavar="NAME", help="name of the index space, as for a run")
    add("--same", action="append", metavar="FIELD", help="as for a run")
    add("--unique", action="append", metavar="FIELD[+FIELD...]", help="as for a run")
    add("--script-timeout", type=_seconds, metavar="S", help="seconds a script may run for a record")


def index_range(text: str) -> tuple[int, int | None]:
    """Return `A` or `A-B` as (first, last); last is None for `A`.

    Raises:
        ArgumentTypeError: the text has another form, or the range is empty or begins below 1.
    """
    first, dash, last = text.partition("-")
    if not _digits(first) or (dash and not _digits(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is not an index range; write 5 or 5-20")
    a, b = int(first), int(last) if dash else None
    if a < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: indexes begin at 1")
    if b is not None and b < a:
        raise argparse.ArgumentTypeError(f"{text!r}: the range ends before it begins")
    return a, b


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12


def _count(text: str) -> int:
    if not _digits(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400 * 7:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _dashed(text: str) -> str:
    return text.replace("_", "-")  # esptool 4.x wrote default_reset


def _complete_ports(**_: object) -> list[str]:
    from parburn.transport.ports import list_candidates

    return [info.port for info in list_candidates()]


def _complete_chips(**_: object) -> list[str]:
    from parburn.chips.registry import chip_names

    return ["auto", *chip_names()]


class Command(NamedTuple):
    """A command beside `run`: what the list of commands says of it, and what gives its parser the options."""

    help: str
    fill: Callable[[Parser], object] | None = None


COMMANDS: Final[Mapping[str, Command]] = {
    "sim": Command("simulated boards on ptys, to play with"),
    "ports": Command("list the ports that may hold a chip", _add_ports),
    "ledger": Command("show, export and correct the record of what was burned", _add_ledger),
    "slots": Command("learn, check and show the sockets of a rig, by name", add_slots),
    "check": Command("rehearse a batch on no board: what its scripts would burn", _add_check),
    "station": Command(STATION_HELP, fill_station),
    "arm": Command("rehearse a station's job and arm it: a station burns nothing else", add_arm),
    "report": Command("make a report of what runs did, from the ledger", _add_report),
    "completion": Command("print the completion script of a shell", _add_completion),
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command line as a namespace; lists before and behind the word `run` add up.

    Raises:
        SystemExit: for --help and --version (0), and for mistakes (2).
    """
    parser = build_parser(argv)
    if list(argv) not in ALONE:
        from parburn.cli.mistyped import foreign_words

        mistake = foreign_words(argv, parser)
        if mistake is not None:
            parser.refuse(mistake)
    options = parser.parse_args(list(argv))
    for name in [name for name in vars(options) if name.endswith(AFTER_RUN)]:
        plain = name.removesuffix(AFTER_RUN)
        setattr(options, plain, [*(getattr(options, plain) or ()), *getattr(options, name)])
        delattr(options, name)
    return options
