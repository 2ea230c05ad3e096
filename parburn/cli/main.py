"""The console script: from a command line to an exit code. Light: each command imports what it needs."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from typing import Final, NoReturn

from parburn.cli.parser import build_parser, parse
from parburn.cli.streams import interrupts_are_handled, interrupts_are_over, silence_stdout

BAD_OUTPUT = 2
# Commands beside `run`: module of this part, and its function from options to exit code.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "ports": ("ports", "ports"),
    "ledger": ("commands", "ledger"),
    "slots": ("slots", "slots"),
    "check": ("check", "check"),
    "arm": ("arm", "arm"),
    "report": ("commands", "report"),
    "station": ("station", "station"),
    "completion": ("commands", "completion"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Never raises; Ctrl-C gives 130.

    Args:
        argv: the words behind the program's name; None takes those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = not {"--debug", "-d"}.isdisjoint(words)
    try:
        if "_ARGCOMPLETE" in os.environ:
            return _complete()
        return _flushed(_dispatch(words))
    except SystemExit as done:  # argparse: help, version, a mistake
        return _flushed(done.code if isinstance(done.code, int) else 0 if done.code is None else 2)
    except KeyboardInterrupt:
        _tell("parburn: interrupted\n")
        return 130
    except BrokenPipeError:
        silence_stdout()
        return 0
    except Exception as error:
        return _explain(error, debug=debug)


def entry() -> NoReturn:
    """Run the console script, and end the process with its exit code.

    A script's thread that never ends must not keep the process alive: all is written by then.
    """
    gc.disable()  # what is loaded now lives as long as the process; a run enables it once all is loaded
    code = main()
    interrupts_are_over()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["sim"]:
        from parburn.sim.command import main as sim

        interrupts_are_handled()
        return sim(words[1:])
    options = parse(words)
    from parburn.cli.signals import stop_signals_interrupt  # here: --help does not wait for it

    with stop_signals_interrupt():
        return _do(options, words)


def _do(options: argparse.Namespace, words: list[str]) -> int:
    if options.command in (None, "run"):
        from parburn.cli.first_line import say_what_begins

        say_what_begins(options)
        from parburn.cli.run import run

        interrupts_are_handled()
        return run(options, words)
    interrupts_are_handled()
    module, name = COMMANDS[options.command]
    command: Callable[[argparse.Namespace], int] = getattr(import_module(f"parburn.cli.{module}"), name)
    with _slots_held(options):
        return command(options)


def _slots_held(options: argparse.Namespace) -> AbstractContextManager[None]:
    """Hold the slots files whose boards a command opens."""
    from parburn.cli.slots_ports import slots_held

    opens = options.command != "ports" or options.probe
    named = [
        *(getattr(options, "port_names", None) or ()),
        *(getattr(options, "more_ports", None) or ()),
        *(getattr(options, "ports", None) or ()),
    ]
    return slots_held(named if opens else ())


def _complete() -> int:
    import argcomplete

    argcomplete.autocomplete(build_parser())
    return 0


def _explain(error: Exception, *, debug: bool) -> int:
    """Write one sentence and a hint, with the traceback only where it was asked for."""
    from parburn.cli.exit_code import exit_code_of
    from parburn.errors import InternalError, ParburnError
    from parburn.ui.view import error_text

    ours = error if isinstance(error, ParburnError) else InternalError(error)
    _tell(error_text(str(ours), ours.hint) + "\n")
    if debug:
        import traceback

        _tell("".join(traceback.format_exception(error)))
    return exit_code_of(ours)


def _flushed(code: int) -> int:
    """Return the exit code, once all that was printed is written; 2 where it could not be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # a reader that has seen enough
        silence_stdout()
    except OSError as error:  # a full disk: what was asked for was done, and cannot be read
        silence_stdout()
        _tell(f"parburn: what was to be shown cannot be written: {error.strerror or error}\n")
        return code or BAD_OUTPUT
    return code


def _tell(text: str) -> None:
    from parburn.cli.saying import tell  # here: --help says nothing beside itself

    tell(text)
