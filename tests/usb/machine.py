"""The virtual machine: QEMU with one USB controller, commands that run in it, sockets where adapters plug in.

The guest's root file system is the host's own, read-only, with a layer in memory over it. `exchange` is one
folder that both see at once.
"""

from __future__ import annotations

import compileall
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import parburn
from tests.usb.image import HERE, QEMU, Image

BOOT_S: Final = 400.0  # about 40 on idle cores
COMMAND_S: Final = 150.0
_ANSWER_S: Final = 20.0
_KERNEL_LINE: Final = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr rdinit=/init"


@dataclass
class Running:
    """A command of the guest that may still run."""

    path: Path  # of what it prints
    ended: threading.Event = field(default_factory=threading.Event)
    code: int = -1

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.path.read_text(errors="replace") if self.path.exists() else ""

    @property
    def process(self) -> int:
        """Its number in the guest. It has printed something already."""
        return int(self.path.with_suffix(".process").read_text())

    def until(self, text: str, *, timeout_s: float = COMMAND_S) -> None:
        """Wait until it has printed a text."""
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            assert not self.ended.is_set(), f"ended without {text!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"no {text!r} yet:\n{self.output}"
            time.sleep(0.02)

    def end(self, *, timeout_s: float = COMMAND_S) -> Done:
        """Wait for its end."""
        assert self.ended.wait(timeout_s), f"still running after {timeout_s:g} s:\n{self.output}"
        return Done(self.code, self.output)


@dataclass(frozen=True)
class Done:
    """A command of the guest that has ended."""

    code: int
    output: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines among what it printed."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]


class Machine:
    """A running virtual machine."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.folder = folder
        self.exchange = folder / "exchange"
        self._process = process
        self._running: dict[int, Running] = {}
        self._control = _connect(folder / "qmp.sock", process)
        self._commands = _connect(folder / "commands.sock", process)
        self._answers = self._commands.makefile("r")
        self._replies = self._control.makefile("r")
        self._deleted: list[str] = []

    def await_ready(self) -> float:
        """Wait until it takes commands; the guest's seconds since it was switched on."""
        self._control.settimeout(_ANSWER_S)
        self._replies.readline()  # its greeting
        self.order("qmp_capabilities")
        self._commands.settimeout(BOOT_S)
        ready = json.loads(self._answers.readline())
        self._commands.settimeout(None)
        threading.Thread(target=self._listen, name="answers of the guest", daemon=True).start()
        return float(ready["ready"])

    # --- commands

    def start(
        self,
        request: Mapping[str, object],
        *,
        folder: Path | str = "/exchange",
        environment: Mapping[str, str] | None = None,
        user: int = 0,
    ) -> Running:
        """Start `{"shell": TEXT}`, `{"parburn": [WORDS]}` or `{"python": TEXT}` in the guest."""
        number = len(self._running) + 1
        running = self._running[number] = Running(self.exchange / f"{number}.out")
        whole = {
            "number": number,
            "folder": str(folder),
            "environment": dict(environment or {}),
            "user": user,
            **request,
        }
        self._commands.sendall(json.dumps(whole).encode() + b"\n")
        return running

    def shell(self, text: str) -> str:
        """Run a shell command to its end; what it printed. It must succeed."""
        done = self.start({"shell": text}).end()
        assert done.code == 0, done.output
        return done.output.strip()

    def look(self, *, appear: Sequence[str] = (), vanish: Sequence[str] = ()) -> list[str]:
        """Wait until a pattern has a path, and paths are gone, and udev has done with it; the paths."""
        done = self.start({"look": {"appear": list(appear), "vanish": list(vanish)}}).end()
        assert done.code == 0, f"no {appear} or still {vanish}"
        return done.output.split()

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._answers:
                answer = json.loads(line)
                running = self._running[answer["number"]]
                running.code = answer["code"]
                running.ended.set()

    # --- what is plugged in

    def plug(self, name: str, driver: str, port: str, **more: str) -> None:
        """Plug a device of QEMU's into a port of the controller: `3`, or `3.1` behind a hub."""
        self.order("device_add", driver=driver, id=name, bus="xhci.0", port=port, **more)

    def plug_redirected(self, name: str, port: str, path: Path) -> None:
        """Plug what listens on a socket and speaks usbredir."""
        address = {"type": "unix", "data": {"path": str(path)}}
        self.order(
            "chardev-add",
            id=f"{name}-line",
            backend={"type": "socket", "data": {"addr": address, "server": False}},
        )
        self.plug(name, "usb-redir", port, chardev=f"{name}-line")

    def pull(self, name: str) -> None:
        """Pull a device, and wait until QEMU has let go of it."""
        self.order("device_del", id=name)
        while name not in self._deleted:
            self._take_reply()
        with suppress(RuntimeError):  # a hub has none
            self.order("chardev-remove", id=f"{name}-line")

    def order(self, execute: str, **arguments: object) -> object:
        """Have QEMU do something. Raises RuntimeError with what it says against it."""
        self._control.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")
        while (reply := self._take_reply()) is None:
            pass
        if "error" in reply:
            raise RuntimeError(f"{execute}: {reply['error']['desc']}")
        return reply["return"]

    def _take_reply(self) -> dict[str, Any] | None:
        """The next reply; None for an event."""
        message: dict[str, Any] = json.loads(self._replies.readline())
        if "event" not in message:
            return message
        if message["event"] == "DEVICE_DELETED":
            self._deleted.append(message["data"].get("device", ""))
        return None

    def close(self) -> None:
        """Switch it off."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        for connection in (self._control, self._commands):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    deadline = time.monotonic() + _ANSWER_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((path.parent / "qemu.log").read_text()) from None
            time.sleep(0.02)
        else:
            return connection


def _command(image: Image, folder: Path) -> list[str]:
    share = "local,security_model=none,multidevs=remap"
    words = [
        QEMU,
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-M",
        "pc",
        "-m",
        "768",
    ]
    # Not KVM: where the host is a virtual machine itself it may stand still for ever, as was seen.
    words += ["-accel", "tcg,thread=multi", "-smp", "2"]
    words += ["-kernel", str(image.boot), "-initrd", str(image.initramfs), "-append", _KERNEL_LINE]
    words += ["-serial", f"file:{folder / 'console.log'}"]
    words += ["-qmp", f"unix:{folder / 'qmp.sock'},server=on,wait=off"]
    words += ["-chardev", f"socket,id=commands,path={folder / 'commands.sock'},server=on,wait=off"]
    words += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=commands,name=commands"]
    for tag, path, readonly in (
        ("host", Path("/"), "on"),
        ("udev", image.udev, "on"),
        ("exchange", folder / "exchange", "off"),
    ):
        words += ["-fsdev", f"{share},id={tag},path={path},readonly={readonly}"]
        words += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    return [*words, "-device", "qemu-xhci,id=xhci,p2=15,p3=1"]


@contextmanager
def running_machine(image: Image, folder: Path) -> Iterator[Machine]:
    """A machine that takes commands. `folder` has a short name: sockets lie in it."""
    # The guest cannot keep what it compiles, and needs twenty times as long.
    compileall.compile_dir(Path(parburn.__file__).parent, quiet=1)
    (folder / "exchange").mkdir()
    shutil.copytree(HERE / "guest", folder / "exchange" / "guest")
    (folder / "exchange" / "python").write_text(sys.executable)
    with (folder / "qemu.log").open("wb") as log:
        process = subprocess.Popen(
            _command(image, folder), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        machine = Machine(process, folder)
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        machine.await_ready()
        yield machine
    finally:
        machine.close()
