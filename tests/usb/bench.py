"""A bench: the machine, simulated boards, and the adapters through which the machine reaches them."""

from __future__ import annotations

import contextlib
import os
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from tests.rig import Rig, start_rig
from tests.usb.devices import Ft232, Lines, UsbSerial, UsbSerialJtag
from tests.usb.machine import Done, Machine, Running
from tests.usb.usbredir import RedirectedDevice

_SCRIPT: Final = """
espefuse(esp, efuses, args, "burn_custom_mac 02:00:00:00:00:{:02x}".format(args.index))
"""
OPERATOR: Final = 1000  # a user of the guest without any rights


class BoardLine:
    """The pty of a simulated board, as an adapter uses it.

    `silent_after`: these bytes still reach the board; then nothing passes any more, in either direction, and
    `silent` is set. Where they are empty nothing passes from the first bytes for the board on.
    """

    def __init__(self, pty: Path, *, silent_after: bytes | None = None) -> None:
        self._pty = pty
        self._silent_after, self._tail = silent_after, b""
        self.silent = threading.Event()
        self.power_cycles = 0
        self.descriptor = self._open()

    def read(self) -> bytes:
        """What the board says."""
        with contextlib.suppress(OSError):
            said = os.read(self.descriptor, 4096)
            return b"" if self.silent.is_set() else said
        return b""

    def write(self, data: bytes) -> None:
        """Bytes for the board."""
        if self.silent.is_set():
            return
        if self._silent_after != b"":
            os.write(self.descriptor, data)
        if self._silent_after is not None:
            self._tail += data
            if self._silent_after in self._tail:
                self.silent.set()
            self._tail = self._tail[-len(self._silent_after) - 1 :]

    def set_lines(self, lines: Lines) -> None:
        """Move DTR and RTS of a pty that has them (`parburn sim --lines`): two bits of its settings."""
        now = termios.tcgetattr(self.descriptor)
        rest = now[6][termios.VEOL2][0] & ~3
        now[6][termios.VEOL2] = bytes((rest | lines.dtr | lines.rts << 1,))
        termios.tcsetattr(self.descriptor, termios.TCSANOW, now)

    def set_baud(self, baud: int) -> None:
        """Set the rate at which the board is spoken to."""
        nearest = min(_RATES, key=lambda rate: abs(rate - baud))
        now = termios.tcgetattr(self.descriptor)
        now[4] = now[5] = _RATES[nearest]
        termios.tcsetattr(self.descriptor, termios.TCSANOW, now)

    def power_cycle(self) -> None:
        """Take the supply away for a moment: the board begins anew."""
        self.close()
        time.sleep(0.01)
        self.power_cycles += 1
        self.descriptor = self._open()

    def close(self) -> None:
        """Take the supply away."""
        os.close(self.descriptor)

    def _open(self) -> int:
        found = os.open(os.path.realpath(self._pty), os.O_RDWR | os.O_NOCTTY)
        tty.setraw(found)
        now = termios.tcgetattr(found)
        now[4] = now[5] = termios.B115200
        termios.tcsetattr(found, termios.TCSANOW, now)
        return found


_RATES: Final = {rate: getattr(termios, f"B{rate}") for rate in (9600, 115200, 230400, 460800, 921600)}


class Adapter:
    """One adapter that is plugged in, with a board behind it."""

    def __init__(self, name: str, path: Path, chip: UsbSerial, board: BoardLine) -> None:
        self.name, self.chip, self.board = name, chip, board
        if not isinstance(chip, UsbSerialJtag):
            chip.on_baud = board.set_baud
        self.device = RedirectedDevice(path, chip, board)

    def leads_lines_on(self) -> None:
        """Let the board have the lines, whose pty has some."""
        self.chip.on_lines = lambda before, now: self.board.set_lines(now)

    def on_reset(self, act: Callable[[], None]) -> None:
        """Act when the usual circuit lets the chip out of reset: RTS without DTR, and then not any more."""

        def changed(before: Lines, now: Lines) -> None:
            held = Lines(dtr=False, rts=True)
            if before == held != now:
                act()

        self.chip.on_lines = changed

    def close(self) -> None:
        """Vanish, and take the supply of the board along."""
        self.device.close()
        self.board.close()


class Bench:
    """Adapters and boards of one test, on the machine that all tests share."""

    _names = count(1)

    def __init__(self, machine: Machine, folder: Path, stack: contextlib.ExitStack) -> None:
        self.machine, self.folder, self._stack = machine, folder, stack
        self.work = (
            machine.exchange / f"test{next(self._names)}"
        )  # the folder of parburn's files; both see it
        self.work.mkdir()
        self.work_in_guest = f"/exchange/{self.work.name}"
        self.adapters: dict[str, Adapter] = {}  # by port of the controller
        self._hubs: dict[str, str] = {}

    # --- boards and adapters

    def boards(self, what: str) -> Rig:
        """Fresh boards: `esp32c3:2,esp32s3:1`."""
        return self._stack.enter_context(start_rig(what, tmp_path=self.folder))

    def plug(
        self,
        port: str,
        pty: str | Path,
        chip: UsbSerial | None = None,
        *,
        lines: bool = False,
        silent_after: bytes | None = None,
    ) -> Adapter:
        """Plug an adapter, an FT232 unless said otherwise, into a port of the controller or of a hub.

        `lines`: the board's pty has lines, which the adapter moves. For `silent_after` see `BoardLine`.
        """
        name = f"usb{next(self._names)}"
        path = self.machine.folder / f"{name}.sock"
        board = BoardLine(Path(pty), silent_after=silent_after)
        adapter = Adapter(name, path, chip or Ft232(name), board)
        if lines:
            adapter.leads_lines_on()
        self.adapters[port] = adapter
        self.machine.plug_redirected(name, port, path)
        return adapter

    def plug_each(self, rig: Rig, *chips: Callable[[str], UsbSerial]) -> list[str]:
        """Plug all boards of a rig into ports 2, 3, ..; the nodes that they got.

        Port 1 is a SuperSpeed one, which wants more of the usbredir protocol than we speak.
        """
        places = [str(number) for number in range(2, len(rig.ports) + 2)]
        for number, (place, pty) in enumerate(zip(places, rig.ports, strict=True)):
            self.plug(place, pty, chips[number](f"S{number}") if chips else None)
        return [self.node(place) for place in places]

    def plug_hub(self, port: str) -> None:
        """Plug a hub of eight ports."""
        self._hubs[port] = f"usb{next(self._names)}"
        self.machine.plug(self._hubs[port], "usb-hub", port)

    def pull(self, *ports: str) -> None:
        """Pull what is in ports, and wait until the guest's kernel and udev know."""
        for port in ports:
            adapter = self.adapters.pop(port)
            adapter.close()
            self.machine.pull(adapter.name)
        self.machine.look(vanish=[f"/sys/bus/usb/devices/1-{port}" for port in ports])

    def node(self, port: str, interface: int = 0) -> str:
        """The tty that a port has become, when udev has done with it: /dev/ttyUSB3."""
        return self.nodes(port, interface)[0]

    def nodes(self, port: str, interface: int = 0) -> list[str]:
        """All ttys of one interface."""
        place = f"/sys/bus/usb/devices/1-{port}:1.{interface}"
        found = self.machine.look(appear=[f"{place}/ttyUSB*", f"{place}/tty/ttyACM*"])
        return [f"/dev/{Path(path).name}" for path in sorted(found)]

    def clear(self) -> None:
        """Pull everything."""
        if self.adapters:
            self.pull(*self.adapters)
        for name in self._hubs.values():
            self.machine.pull(name)

    # --- parburn

    def file(self, name: str, content: str | bytes) -> str:
        """Make a file in the folder in which parburn runs; its name."""
        (self.work / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def burn(self, *nodes: str) -> list[str]:
        """The words of a burn: a custom MAC of each board's own."""
        script = self.file("script.py", _SCRIPT)
        return ["--ports", *nodes, "--scripts", script, "--do-not-confirm", "--new-ledger", "--json"]

    def start(self, *words: str, user: int = 0, silent_pipe: bool = False, **environment: str) -> Running:
        """Start parburn in the guest, in the folder of the test; its input is empty, or a silent pipe."""
        # On a file system of the guest's own: the shared folder is a network one, where no ledger may lie.
        state = {"XDG_STATE_HOME": f"/run/{self.work.name}", "COLUMNS": "200"}
        return self.machine.start(
            {"parburn": list(words), "pipe": silent_pipe},
            folder=self.work_in_guest,
            environment={**state, **environment},
            user=user,
        )

    def parburn(self, *words: str, user: int = 0, **environment: str) -> Done:
        """Run parburn to its end. Nothing that happens to a USB port is a defect of parburn."""
        return self.ended(self.start(*words, user=user, silent_pipe=False, **environment))

    def ended(self, running: Running) -> Done:
        """Wait for the end of parburn."""
        done = running.end()
        assert "inside parburn" not in done.output, done.output
        assert "Traceback" not in done.output, done.output
        return done

    @contextlib.contextmanager
    def held(self, calls: Mapping[str, str], words: Sequence[str]) -> Iterator[Running]:
        """Start parburn; while its first such system call on each of the nodes is held the context runs."""
        go = self.machine.exchange / "go"
        go.unlink(missing_ok=True)
        running = self.start(*words, USB_HOLD=" ".join(f"{call}@{node}" for node, call in calls.items()))
        for node, call in calls.items():
            running.until(f"HELD {call}@{node}")
        try:
            yield running
        finally:
            go.touch()

    def pulled_at(self, calls: Mapping[str, str], words: Sequence[str]) -> Done:
        """Run parburn, and pull ports while parburn is held in a system call on each of their nodes."""
        nodes = {self.node(port): port for port in self.adapters}
        with self.held(calls, words) as running:
            self.pull(*(nodes[node] for node in calls))
        return self.ended(running)
