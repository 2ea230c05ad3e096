"""Runs commands in the virtual machine: shell commands, and parburn. Needs nothing of the tests' own modules.

An emulated processor needs many seconds to import parburn. So it is imported here once, and each run is a
fork: the same code, with a life of its own. A request is one line of JSON on a virtio port, and so is its
answer; what a command prints lies in /exchange/NUMBER.out.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import pkgutil
import select
import sys
import time
from typing import Any, NoReturn

EXCHANGE = "/exchange"
LOOK_S = 90  # how long to look for a device


def import_parburn() -> None:
    """Import all that a run on ports may need."""
    import parburn

    for module in pkgutil.walk_packages(parburn.__path__, "parburn."):
        if not module.name.endswith("__main__") and not module.name.startswith("parburn.sim"):
            importlib.import_module(module.name)
    for name in ("serial.tools.list_ports", "asyncio", "rich.live", "rich.progress", "rich.table"):
        importlib.import_module(name)


def become(request: dict[str, Any]) -> None:
    """Be the process that was asked for: its output, folder, environment and user."""
    output = os.open(
        f"{EXCHANGE}/{request['number']}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o644
    )
    nothing = os.pipe()[0] if request.get("pipe") else os.open(os.devnull, os.O_RDONLY)
    for number, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, number)
    with open(f"{EXCHANGE}/{request['number']}.process", "w") as file:  # noqa: PTH123  # no import in a fork
        file.write(str(os.getpid()))
    os.setsid()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    if request["user"]:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])


def look(*, appear: list[str], vanish: list[str]) -> NoReturn:
    """Print the paths of a pattern as soon as there is one, or see a path vanish; then wait for udev."""
    until = time.monotonic() + LOOK_S
    while time.monotonic() < until:
        found = [path for pattern in appear for path in glob.glob(pattern)]  # noqa: PTH207  # absolute ones
        if (found or not appear) and not any(map(os.path.exists, vanish)):
            os.write(1, "\n".join(found).encode())
            os.execvp("udevadm", ["udevadm", "settle"])
        time.sleep(0.02)
    raise SystemExit(1)


def run(request: dict[str, Any]) -> NoReturn:
    """Run one request in this process, to the end of the process."""
    become(request)
    if "shell" in request:
        os.execv("/bin/sh", ["sh", "-c", request["shell"]])
    if "look" in request:
        look(**request["look"])
    if "python" in request:
        exec(request["python"], {"__name__": "request"})  # a test's own
        raise SystemExit(0)
    import watch  # type: ignore[import-not-found]  # beside this file

    watch.install()
    from parburn.cli.main import entry

    sys.argv = ["parburn", *request["parburn"]]
    entry()
    raise SystemExit(0)


def serve(port: int) -> dict[str, Any]:
    """Start what is asked for, and tell of its end. Returns only in the new process, with its request."""
    numbers: dict[int, tuple[int, int]] = {}  # by the descriptor of a process: its id, its request's number
    waiting = b""
    while True:
        readable, _, _ = select.select([port, *numbers], [], [])
        for ended in numbers.keys() & set(readable):
            process, number = numbers.pop(ended)
            os.close(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            os.write(port, json.dumps({"number": number, "code": code}).encode() + b"\n")
        if port in readable:
            waiting += os.read(port, 65536)
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            request: dict[str, Any] = json.loads(line)
            child = os.fork()
            if child == 0:
                os.close(port)
                return request
            numbers[os.pidfd_open(child)] = (child, request["number"])


def main() -> None:
    """Serve until the machine is switched off."""
    import_parburn()
    port = os.open(sys.argv[1], os.O_RDWR)
    os.write(port, json.dumps({"ready": time.monotonic()}).encode() + b"\n")
    run(serve(port))


if __name__ == "__main__":
    main()
