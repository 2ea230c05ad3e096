"""Runs a device's scripts in a daemon thread of its own, and says how they ended. Burns nothing itself.

The thread runs the script's own code and every command; it crosses to the event loop only through the bridge.
At the deadline the script gets an exception that `except Exception` does not catch; a script that goes on all
the same is given up: its bridge is closed, so it reaches no chip, and its thread does not keep the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anyio import Event, move_on_after, sleep
from anyio.from_thread import BlockingPortal

from parburn.config.files import ConfigFile, read_file
from parburn.efuse.image import EfuseImage
from parburn.errors import EfuseError, ParburnError
from parburn.script import output
from parburn.script.args import ScriptArgs
from parburn.script.bridge import Bridge
from parburn.script.clock import ScriptClock
from parburn.script.compiled import CompiledScript, CompiledScripts, compile_scripts
from parburn.script.config import ConfigHandle
from parburn.script.failure import script_exited, script_failed, script_timed_out
from parburn.script.inputs import READER
from parburn.script.key_mask import KeyMask
from parburn.script.objects.namespace import make_args, make_globals
from parburn.script.session import DeviceCalls, DeviceFacts, ScriptOptions, ScriptOutcome, Session
from parburn.script.stop_thread import is_traced, let_be_stopped, raise_in

GRACE_S = 1.0  # for a script to end after its deadline's exception
LOOK_AGAIN_S = 0.25  # at the clock, and at what was printed

__all__ = ["CompiledScripts", "compile_scripts", "raise_in", "run_scripts", "run_scripts_here"]


async def run_scripts(
    scripts: CompiledScripts,
    facts: DeviceFacts,
    image: EfuseImage,
    calls: DeviceCalls,
    options: ScriptOptions,
    *,
    on_output: Callable[[str], None],
) -> ScriptOutcome:
    """Run all scripts on one device; nothing is raised but for cancellation.

    Args:
        scripts: The scripts, compiled.
        facts: What is known of the chip.
        image: What the first script sees.
        calls: What scripts may ask of the device.
        options: What they feel of the command line.
        on_output: Gets what they print, on the event loop, in order.

    Returns:
        How they ended, what is left to burn, and what they have read.
    """
    given_up = True
    async with BlockingPortal() as portal:
        clock = ScriptClock(options.timeout_s)
        bridge = Bridge(portal, clock)
        keys = options.keys or KeyMask(shows_keys=options.show_sensitive_info)
        printed = output.BoardOutput(on_output, keys)
        bridge.before_crossing = printed.flush
        session = Session(facts, image, calls, options._replace(keys=keys), bridge, printed.write)
        run = _Run(scripts, session, bridge)
        thread = threading.Thread(
            target=run.in_own_thread, args=(printed,), name=f"script {facts.port}", daemon=True
        )
        output.route()
        thread.start()
        try:
            given_up = not await _ended(run, thread, clock, bridge, printed)
        finally:
            bridge.close()
            if given_up:
                raise_in(thread)
            printed.close()
    return run.outcome(given_up, options.timeout_s)


async def _ended(
    run: _Run, thread: threading.Thread, clock: ScriptClock, bridge: Bridge, printed: output.BoardOutput
) -> bool:
    """Wait for the thread and hand on what it prints; stop it at its deadline. False: that did not work."""
    while not run.done.is_set():
        left = clock.remaining()
        if left <= 0 and not clock.is_paused:
            if not bridge.close_unless_crossing():
                await sleep(0.001)  # it has just begun to cross
                continue
            run.late = True
            raise_in(thread)
            with move_on_after(GRACE_S):
                await run.done.wait()
            return run.done.is_set()
        with move_on_after(LOOK_AGAIN_S if clock.is_paused else min(left, LOOK_AGAIN_S)):
            await run.done.wait()
        printed.flush()
    return True


def run_scripts_here(
    scripts: CompiledScripts,
    facts: DeviceFacts,
    image: EfuseImage,
    calls: DeviceCalls,
    options: ScriptOptions,
    bridge: Bridge,
) -> ScriptOutcome:
    """Run all scripts in the calling thread, for a device that `bridge` answers for at once.

    What they print is dropped. Nothing is raised; the caller minds the time.
    """
    printed = output.BoardOutput(lambda text: None)
    session = Session(facts, image, calls, options, bridge, printed.write)
    run = _Run(scripts, session, bridge)
    output.route()
    run.in_thread(printed)
    outcome = run.outcome(False, options.timeout_s)
    session.globals.clear()  # a parsed file for each of ten thousand records must not wait for the collector
    return outcome


class _Run:
    """The scripts of one device on their way."""

    def __init__(self, scripts: CompiledScripts, session: Session, bridge: Bridge) -> None:
        self.done = Event()
        self.late = False
        self._scripts = scripts
        self._session = session
        self._bridge = bridge
        self._error: BaseException | None = None
        self._depth = 0
        self._traced = is_traced()
        self._given: tuple[Any, Any, Any]

    # In the thread ------------------------------------------------------------------------------------

    def in_own_thread(self, printed: output.BoardOutput) -> None:
        """Be the whole life of a thread that can be stopped."""
        let_be_stopped(traced=self._traced)
        self.in_thread(printed)

    def in_thread(self, printed: output.BoardOutput) -> None:
        """Run the scripts in the thread that calls."""
        output.SINK.set(printed)
        session = self._session
        READER.set(session.inputs)
        try:
            session.globals = names = make_globals(session, self._nested)
            self._given = names["esp"], names["efuses"], names["espefuse"]
            self._execute(self._scripts.scripts, session.facts.index, session.options.config_files.files)
        except BaseException as error:
            self._error = error
        finally:
            output.unroute()
            self._bridge.post(self.done.set)

    def _execute(
        self, scripts: Sequence[CompiledScript], index: int | None, files: Sequence[ConfigFile] | None
    ) -> None:
        names = self._session.globals
        handles = [ConfigHandle(script.source) for script in scripts]
        for script, handle in zip(scripts, handles, strict=True):
            args = make_args(self._session, index=index, configfiles=files, scripts=handles)
            names.update(args=args, scripts=handles, file=handle, __file__=script.filename)
            if script.function is None:
                exec(script.code, names)
            else:
                self._call(script.function, args)

    def _call(self, function: Callable[..., object], args: ScriptArgs) -> None:
        """Call a function as a script.

        It gets the device's own objects, whatever scripts before it made of these names.
        """
        esp, efuses, espefuse = self._given
        returned = function(esp, efuses, args, espefuse)
        if hasattr(returned, "__await__") or hasattr(returned, "gi_frame") or hasattr(returned, "ag_frame"):
            raise TypeError("the function returned a coroutine or a generator: nothing of it has run")

    def _nested(self, paths: Sequence[str], index: int | None, config_paths: Sequence[str] | None) -> None:
        """Run scripts within a script, with their own index and files; the outer ones come back after it."""
        options, facts = self._session.options, self._session.facts
        fixed = index is not None and index != facts.index
        if fixed and not options.allow_fixed_index:
            raise EfuseError(
                f"execute_scripts --index {index} goes around the shared index: every board would get the "
                "same one",
                hint="Leave --index out and use args.index, or give --allow-fixed-index.",
            )
        if self._depth >= MAX_DEPTH:
            raise EfuseError(f"execute_scripts is nested more than {MAX_DEPTH} deep")
        scripts = [self._scripts.script_at(path) for path in paths]
        for script in scripts:
            self._session.inputs.note(script.path, script.source.digest)  # compiled for another board before
        files = None
        if config_paths is not None:
            files = tuple(read_file(Path(path)) for path in config_paths)
        names = self._session.globals
        outer = {name: names.get(name) for name in _PER_SCRIPT}
        self._depth += 1
        try:
            self._execute(scripts, index, files)
        finally:
            self._depth -= 1
            names.update(outer)

    # Afterwards ---------------------------------------------------------------------------------------

    def outcome(self, given_up: bool, timeout_s: float) -> ScriptOutcome:
        """Return how the scripts ended. After an error nothing is staged any more."""
        session = self._session
        error = self._failure(given_up, timeout_s)
        if error is not None:
            session.keys.mask_error(error)
        staged = session.staged.copy()
        if error is not None:
            staged.clear()
        return ScriptOutcome(
            staged=staged,
            image=session.image,
            error=error,
            written=tuple(session.written),
            had_staged=session.had_staged,
            inputs=session.inputs.kept(),
        )

    def _failure(self, given_up: bool, timeout_s: float) -> ParburnError | None:
        error = self._error
        if self._session.broken is not None:
            return self._session.broken  # whatever the script made of it
        if given_up or self.late:
            return script_timed_out(timeout_s, None if given_up else error, self._scripts)
        if error is None:
            return None
        if isinstance(error, SystemExit):
            return script_exited(error, self._scripts)
        return script_failed(error, self._scripts)


MAX_DEPTH = 20
_PER_SCRIPT = ("args", "scripts", "file", "__file__")
