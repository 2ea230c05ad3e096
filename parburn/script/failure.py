"""What went wrong in a script, for the operator: a sentence, and a traceback of the script's own frames.

The texts may still hold keys: whoever hands them on takes these out (`script.key_mask`).
"""

from __future__ import annotations

import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple

from parburn.errors import ParburnError, ScriptExited, ScriptFailed, ScriptTimeout
from parburn.script.compiled import CompiledScript, CompiledScripts

_PACKAGE = str(Path(__file__).parent.parent)


def script_failed(error: BaseException, scripts: CompiledScripts) -> ScriptFailed:
    """Return the failure of a script that raised. What parburn refused keeps its words and its hint."""
    refused = error if isinstance(error, ParburnError) else getattr(error, "error", None)
    if not isinstance(refused, ParburnError):
        refused = None
    place = _place(error.__traceback__, scripts)
    words = str(refused) if refused is not None else f"{type(error).__name__}: {error}"
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        words = f"KeyError: {error.args[0]}"
    hint = refused.hint if refused is not None else ""
    failed = ScriptFailed(
        f"{place}{words}",
        traceback_text=_text(error, words, scripts),
        place=_bare(error.__traceback__, scripts),
        hint=hint,
    )
    failed.__cause__ = refused
    return failed


def script_exited(error: SystemExit, scripts: CompiledScripts) -> ScriptExited:
    """Return the failure of a script that called exit()."""
    place = _place(error.__traceback__, scripts)
    code = "" if error.code is None else f" with {error.code!r}"
    return ScriptExited(
        f"{place}the script called exit(){code}; what it had staged is dropped",
        traceback_text=_text(error, "SystemExit", scripts),
        place=_bare(error.__traceback__, scripts),
        hint="Let a script end by itself: exit() never burns.",
    )


def script_timed_out(
    timeout_s: float, error: BaseException | None, scripts: CompiledScripts, stood: Standing
) -> ScriptTimeout:
    """Return the failure of a script past its deadline.

    `error` is what stopped it; None when it could not be stopped. `stood` is where it
    was then.
    """
    place = _place(error.__traceback__, scripts) if error is not None else ""
    place = place or stood.place
    given_up = "" if error is not None else " and could not be stopped; its board is given up"
    what = _starved(stood, timeout_s) or f"the script ran longer than {timeout_s:g} s"
    return ScriptTimeout(
        f"{place}{what}{given_up}",
        traceback_text=_text(error, "past its deadline", scripts) if error is not None else "",
        place=_bare(error.__traceback__, scripts) if error is not None else "",
        hint=_LOCK_HINT if stood.waiting_boards and stood.is_idle else "--script-timeout gives it more time.",
    )


_LOCK_HINT = (
    "Let no script hold a lock over burn_all(), which waits for the other boards: release it before. Or give "
    "--one-at-a-time: then each board's script begins when the one before has ended."
)


class Standing(NamedTuple):
    """Where a script was at its deadline, and what the other boards did then.

    `place` is `file:line: `. `is_idle`: it did nothing but wait. The burns of `waiting_boards` wait for the
    boards that have not come to theirs; each has the place where its script stands beside it.
    """

    place: str = ""
    is_idle: bool = False
    waiting_boards: tuple[str, ...] = ()


def _starved(stood: Standing, timeout_s: float) -> str:
    """Return what it waited for, in words, where others wait for it; empty where none do."""
    if not stood.waiting_boards:
        return ""
    boards = ", ".join(stood.waiting_boards)
    one = len(stood.waiting_boards) == 1
    others = f"{boards} {'waits with its' if one else 'wait with their'} burn for the other boards"
    if stood.is_idle:
        return f"the script waits here ({timeout_s:g} s are over) for a lock or the like, and {others}"
    return f"the script ran longer than {timeout_s:g} s, and {others}"


def place_of(frame: FrameType | None, scripts: CompiledScripts) -> str:
    """Return `file:line: ` of the innermost line of a script in a thread's frames, or nothing."""
    while frame is not None:
        script = scripts.named(frame.f_code.co_filename)
        if script is not None:
            return _said(script, frame.f_lineno)
        frame = frame.f_back
    return ""


def _place(trace: TracebackType | None, scripts: CompiledScripts) -> str:
    """Return `file:line: ` of the innermost line of a script; of typed commands the command."""
    found = _innermost(trace, scripts)
    return "" if found is None else _said(*found)


def _bare(trace: TracebackType | None, scripts: CompiledScripts) -> str:
    """Return `file:line`; of typed commands the number, since what was typed there may be anything."""
    found = _innermost(trace, scripts)
    return "" if found is None else f"{found[0].filename}:{found[1]}"


def _innermost(trace: TracebackType | None, scripts: CompiledScripts) -> tuple[CompiledScript, int] | None:
    found = None
    for frame, line in traceback.walk_tb(trace):
        script = scripts.named(frame.f_code.co_filename)
        if script is not None:
            found = script, line
    return found


def _said(script: CompiledScript, line: int) -> str:
    where = f" {script.lines[line - 1]}" if script.typed else str(line)
    return f"{script.filename}:{where}: "


def _text(error: BaseException, words: str, scripts: CompiledScripts) -> str:
    lines = ["Traceback (most recent call last):"]
    for frame, line in traceback.walk_tb(error.__traceback__):
        filename = frame.f_code.co_filename
        if filename.startswith((_PACKAGE, "<frozen")):
            continue
        lines.append(f'  File "{filename}", line {line}, in {frame.f_code.co_name}')
        script = scripts.named(filename)
        if script is not None and 0 < line <= len(script.lines):
            lines.append("    " + script.lines[line - 1].strip())
    return "\n".join([*lines, words]) + "\n"
