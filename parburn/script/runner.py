"""Runs a device's scripts in a daemon thread of its own, and says how they ended. Burns nothing itself.

The thread runs the script's own code and every command; it crosses to the event loop only through the bridge.
At the deadline the script gets an exception that `except Exception` does not catch; a script that goes on all
the same is given up: its bridge is closed, so it reaches no chip, and its thread does not keep the process.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio import Event, move_on_after, sleep
from anyio.from_thread import BlockingPortal

from parburn.config.files import ConfigFile, read_file
from parburn.efuse.held_back import NOTHING_HELD
from parburn.efuse.image import EfuseImage
from parburn.errors import EfuseError, ParburnError
from parburn.script import output
from parburn.script.args import ScriptArgs
from parburn.script.bridge import Bridge, ScriptStopped
from parburn.script.clock import ScriptClock
from parburn.script.compiled import CompiledScript, CompiledScripts, compile_scripts
from parburn.script.config import ConfigHandle
from parburn.script.failure import Standing, place_of, script_exited, script_failed, script_timed_out
from parburn.script.inputs import READER
from parburn.script.key_mask import KeyMask
from parburn.script.objects.namespace import make_args, make_globals
from parburn.script.session import DeviceCalls, DeviceFacts, PortLoss, ScriptOptions, ScriptOutcome, Session
from parburn.script.stop_thread import is_traced, let_be_stopped, raise_in

GRACE_S = 1.0  # for a script to end after its deadline's exception
LOOK_AGAIN_S = 0.25  # at the clock, and at what was printed
IDLE_CPU_S = 0.02  # of its own time that a thread uses between two looks, if all it does is wait

__all__ = ["CompiledScripts", "compile_scripts", "raise_in", "run_scripts", "run_scripts_here"]


async def run_scripts(
    scripts: CompiledScripts,
    facts: DeviceFacts,
    image: EfuseImage,
    calls: DeviceCalls,
    options: ScriptOptions,
    *,
    on_output: Callable[[str], None],
    port: PortLoss | None = None,
    watch: ScriptWatch | None = None,
) -> ScriptOutcome:
    """Run all scripts on one device; nothing is raised but for cancellation.

    Args:
        scripts: The scripts, compiled.
        facts: What is known of the chip.
        image: What the first script sees.
        calls: What scripts may ask of the device.
        options: What they feel of the command line.
        on_output: Gets what they print, on the event loop, in order.
        port: Once it is lost the script is stopped.
        watch: Is told which thread is theirs.

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
        run = _Run(scripts, session, bridge, watch)
        thread = threading.Thread(
            target=run.in_own_thread, args=(printed,), name=f"script {facts.port}", daemon=True
        )
        output.route()
        thread.start()
        if port is not None:
            port.tell(run.lose)
        try:
            given_up = not await _ended(run, thread, clock, bridge, printed)
        finally:
            bridge.close()
            if given_up:
                raise_in(thread)
            printed.close()
    outcome = run.outcome(given_up, options.timeout_s)
    if options.inputs_end:
        session.inputs.ended()
    return outcome


async def _ended(
    run: _Run, thread: threading.Thread, clock: ScriptClock, bridge: Bridge, printed: output.BoardOutput
) -> bool:
    """Wait for the thread and hand on what it prints; stop it at its deadline. False: that did not work."""
    while not run.done:
        left = clock.remaining()
        if (left <= 0 or run.lost is not None) and not clock.is_paused:
            if not bridge.close_unless_crossing():
                await sleep(0.001)  # it has just begun to cross
                continue
            run.stopped = True
            run.stood = run.watch.standing()
            raise_in(thread)
            run.woken = Event()
            with move_on_after(GRACE_S):
                await run.woken.wait()
            return run.done
        if run.woken.is_set():  # by a loss, while the script waits for us
            run.woken = Event()
        run.watch.look()
        with move_on_after(LOOK_AGAIN_S if clock.is_paused else min(left, LOOK_AGAIN_S)):
            await run.woken.wait()
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


class ScriptWatch:
    """Looks at a script's thread from outside: where it stands, and whether it does anything.

    `others` tells which boards wait for it, for the words of a script that is past its deadline.
    """

    def __init__(self, others: Callable[[], tuple[str, ...]] = tuple) -> None:
        self._others = others
        self._scripts: CompiledScripts | None = None
        self._thread = 0
        self._clock = 0
        self._cpu_s = (0.0, 0.0)  # at the last two looks

    def begins(self, scripts: CompiledScripts) -> None:
        """Take note of the thread: it is called in it."""
        self._scripts, self._thread = scripts, threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)

    def look(self) -> None:
        """Note how much it has done so far."""
        with suppress(OSError):  # the thread has ended
            self._cpu_s = (self._cpu_s[1], time.clock_gettime(self._clock) if self._thread else 0.0)

    def place(self) -> str:
        """`file:line: ` where it stands; empty where no line of a script is found."""
        if self._scripts is None:
            return ""
        return place_of(sys._current_frames().get(self._thread), self._scripts)

    def standing(self) -> Standing:
        """Where it stands, at its deadline."""
        self.look()
        idle = self._cpu_s[1] - self._cpu_s[0] < IDLE_CPU_S
        return Standing(self.place(), idle, self._others())


class _Run:
    """The scripts of one device on their way."""

    def __init__(
        self,
        scripts: CompiledScripts,
        session: Session,
        bridge: Bridge,
        watch: ScriptWatch | None = None,
    ) -> None:
        self.watch = watch or ScriptWatch()
        self.stood = Standing()
        self.done = False
        self.woken = Event()  # it has ended, or its port is lost
        self.stopped = False  # at its deadline, or since its port was lost
        self.lost: ParburnError | None = None  # the port
        self._scripts = scripts
        self._session = session
        self._bridge = bridge
        self._error: BaseException | None = None
        self._depth = 0
        self._thread = 0  # the script's own
        self._traced = is_traced()
        self._given: tuple[Any, Any, Any]

    def end(self) -> None:
        """Note that the thread has ended."""
        self.done = True
        self.woken.set()

    def lose(self, error: ParburnError) -> None:
        """Note that the port is gone: nothing of what the script does can reach the chip any more."""
        self.lost = error
        self.woken.set()

    # In the thread ------------------------------------------------------------------------------------

    def in_own_thread(self, printed: output.BoardOutput) -> None:
        """Be the whole life of a thread that can be stopped."""
        let_be_stopped(traced=self._traced)
        try:
            self.in_thread(printed)
        except ScriptStopped as late:  # it came where no script ran any more: the end may not have been told
            self._error = self._error or late
            self._bridge.post(self.end)

    def in_thread(self, printed: output.BoardOutput) -> None:
        """Run the scripts in the thread that calls."""
        sink, reader = output.SINK.set(printed), READER.set(self._session.inputs)
        self.watch.begins(self._scripts)
        self._thread = threading.get_ident()
        session = self._session
        try:
            session.globals = names = make_globals(session, self._nested)
            self._given = names["esp"], names["efuses"], names["espefuse"]
            self._execute(self._scripts.scripts, session.facts.index, session.options.config_files.files)
        except BaseException as error:
            self._error = error
        try:
            session.end()
        except BaseException as error:
            self._error = self._error or error
        finally:
            output.unroute()
            READER.reset(reader)  # whoever calls this in a thread of its own reads for no board any more
            output.SINK.reset(sink)
            self._bridge.post(self.end)

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
        if threading.get_ident() != self._thread:
            raise EfuseError(
                "execute_scripts is refused in a thread that a script has started: args and the other names "
                "would change for the whole script meanwhile",
                hint="Call it from the script itself.",
            )
        if self._depth >= MAX_DEPTH:
            raise EfuseError(f"execute_scripts is nested more than {MAX_DEPTH} deep")
        scripts = [self._scripts.script_at(path) for path in paths]
        for script in scripts:
            self._session.inputs.note(script.path, script.source.digest)  # compiled for another board before
        files = None
        if config_paths is not None:
            pipes = self._session.files.pipes
            files = tuple(read_file(Path(path), pipes.content) for path in config_paths)
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
            image=session.real,
            error=error,
            written=tuple(session.written),
            had_staged=session.had_staged,
            inputs=session.inputs.kept(),
            held=NOTHING_HELD if error is not None else session.held,
        )

    def _failure(self, given_up: bool, timeout_s: float) -> ParburnError | None:
        error = self._error
        if self._session.broken is not None:
            return self._session.broken  # whatever the script made of it
        if self.stopped and self.lost is not None:
            return self.lost
        if given_up or self.stopped:
            return script_timed_out(timeout_s, None if given_up else error, self._scripts, self.stood)
        if error is None:
            return None
        if isinstance(error, SystemExit):
            return script_exited(error, self._scripts)
        return script_failed(error, self._scripts)


MAX_DEPTH = 20
_PER_SCRIPT = ("args", "scripts", "file", "__file__")
