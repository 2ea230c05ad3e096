"""What the two peer workers share: the conversation over stdin/stdout and the chip's memory.

Runs in the peer's own Python, never in ours. A request is one JSON line, its answer is one JSON line; all
that the original prints in between is caught. Each request starts from a fresh chip, so nothing is carried
over from one sequence to the next.

Request: ``{"chip", "start": {block: hex}, "steps": [step], "table": text or null, "folder": path, "go_on"}``.
A step is ``{"commands": [line]}`` or ``{"scripts": [path], "index": n or null, "configs": [path]}``; each
step ends with a burn. Answer: ``{"start": state, "steps": [{"accepted", "where", "message", "crash",
"half_staged", "says": [line], "state"}]}``; a state: ``{"blocks": {index: hex}, "fields": {name: field},
"summary": {name: entry} in the last state}``.
"""

import abc
import contextlib
import functools
import importlib
import io
import json
import os
import sys
import traceback
from typing import Any, Protocol

SAID = "::"  # a script's lines that begin so are compared with ours


class Session(abc.ABC):
    """One chip from its start bits to the end of its sequence; each version fills in the rest."""

    esp: Any
    efuses: Any

    def __init__(self, esp: Any, bitstream: Any, start: dict[int, int]) -> None:
        self.esp = esp
        self.half_staged = False
        put_bits(esp, bitstream, {0: start.get(0, 0)})  # on ESP32 BLOCK0 says how long the others are
        put_bits(esp, bitstream, start)

    @abc.abstractmethod
    def look(self) -> None:
        """See the chip as a new run of the tool would, into `efuses`."""

    @abc.abstractmethod
    def commands(self, lines: list[str]) -> dict[str, Any]:
        """Stage the commands, then burn."""

    @abc.abstractmethod
    def scripts(self, paths: list[str], index: int | None, configs: list[str]) -> dict[str, Any]:
        """Run scripts as the original does, then burn."""

    @abc.abstractmethod
    def write_summary(self, file: io.StringIO) -> None:
        """Have the original write its JSON summary."""

    def state(self, *, with_summary: bool) -> dict[str, Any]:
        """All read registers and what every field shows to a new run of the tool, which the next step is.

        `unusable` is why the original cannot look at this chip at all, and is missing when it can.
        """
        try:
            self.look()
        except Exception as error:
            return {"blocks": read_blocks(self.esp), "fields": None, "unusable": str(error)}
        if self.esp.CHIP_NAME == "ESP32-P4":
            # The virtual chip write-protects by its first table, whatever its revision; silicon does not.
            self.esp.Fields = self.efuses.Fields
        state = {"blocks": read_blocks(self.esp), "fields": read_fields(self.efuses)}
        if with_summary:
            text = Kept()
            self.write_summary(text)
            text.close()
            state["summary"] = json.loads(text.text)
        return state

    def staged(self) -> list[int]:
        """What is staged in each block."""
        return [block.wr_bitarray.uint for block in self.efuses.blocks]

    def run_step(self, step: dict[str, Any], unusable: str | None) -> dict[str, Any]:
        """One step of a request."""
        self.half_staged = False
        if unusable is not None:
            return refused(ChipUnusableError(unusable), "start", False)
        if "commands" in step:
            return self.commands(step["commands"])
        return self.scripts(step["scripts"], step["index"], step["configs"])


class ChipUnusableError(Exception):
    """The original itself cannot look at this chip any more: every command on it is refused."""


class OpenSession(Protocol):
    """Makes a session."""

    def __call__(self, chip: str, start: dict[int, int], table: str | None) -> Session:
        """Start bits by block, and the text of a custom eFuse table or None."""
        ...


def serve(open_session: OpenSession) -> None:
    """Answer requests until stdin ends."""
    parse_tables_once()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing but answers may reach the other end
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = run(open_session, request)
        except Exception:
            answer = {"broken": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def run(open_session: OpenSession, request: dict[str, Any]) -> dict[str, Any]:
    """One sequence from a fresh chip."""
    os.chdir(request["folder"])
    start = {int(index): int(bits, 16) for index, bits in request["start"].items()}
    with caught_output():
        session = open_session(request["chip"], start, request["table"])
        state = session.state(with_summary=not request["steps"])
    answer: dict[str, Any] = {"start": state, "steps": []}
    for number, step in enumerate(request["steps"], 1):
        with caught_output() as printed:
            outcome = session.run_step(step, state.get("unusable"))
        outcome["says"] = [one for one in printed.getvalue().splitlines() if one.startswith(SAID)]
        with caught_output():
            wanted = request["every_summary"] or number == len(request["steps"])
            state = outcome["state"] = session.state(with_summary=wanted)
        answer["steps"].append(outcome)
        if not outcome["accepted"] and not request["go_on"]:
            break
    return answer


@contextlib.contextmanager
def caught_output() -> Any:
    """Keep what the original prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        yield printed


def refused(error: BaseException, where: str, half_staged: bool) -> dict[str, Any]:
    """The outcome of a step that the original did not carry out."""
    crash = "" if type(error).__name__ in ("FatalError", "SystemExit") else type(error).__name__
    return {
        "accepted": False,
        "where": where,
        "message": str(error) or type(error).__name__,
        "crash": crash,
        "half_staged": half_staged,
    }


def accepted(half_staged: bool = False) -> dict[str, Any]:
    """The outcome of a step that was burned."""
    return {"accepted": True, "where": "", "message": "", "crash": "", "half_staged": half_staged}


def parse_tables_once() -> None:
    """The originals parse a chip's YAML anew for every object: once is enough for thousands of runs."""
    yaml: Any = importlib.import_module("yaml")
    parse = functools.cache(yaml.safe_load)
    yaml.safe_load = lambda stream: parse(stream if isinstance(stream, str) else stream.read())


class Kept(io.StringIO):
    """A summary's file: has a name, and its text can still be read after it was closed."""

    name = "summary"
    text = ""

    def close(self) -> None:
        """Keep the text."""
        if not self.closed:
            self.text = self.getvalue()
        super().close()


def put_bits(esp: Any, bitstream: Any, start: dict[int, int]) -> None:
    """Set the read registers of the virtual chip directly, as a chip that was burned before has them."""
    for row in esp.Blocks.BLOCKS:
        block = esp.Blocks.get(row)
        bits = start.get(block.id, 0)
        length = block_length(esp, block)
        place = esp.mem.length - ((block.rd_addr - esp.REGS.DR_REG_EFUSE_BASE) * 8 + length)
        esp.mem.overwrite(bitstream(bytes=bits.to_bytes(length // 8, "big")), place)


def block_length(esp: Any, block: Any) -> int:
    """Bits of a block's read registers; all of them where the original does not know the coding scheme."""
    try:
        return int(esp.get_bitlen_of_block(block))
    except Exception:
        return 32 * int(block.len)


def read_blocks(esp: Any) -> dict[str, str]:
    """All read registers, as a reader of the chip sees them."""
    found = {}
    for row in esp.Blocks.BLOCKS:
        block = esp.Blocks.get(row)
        length = block_length(esp, block)
        end = esp.mem.length - (block.rd_addr - esp.REGS.DR_REG_EFUSE_BASE) * 8
        found[str(block.id)] = hex(esp.mem[end - length : end].uint)
    return found


def read_fields(efuses: Any) -> dict[str, Any]:
    """What every field that the original lists now shows."""
    return {
        field.name: {
            "get": field.get(),
            "meaning": field.get_meaning(),
            "bits": hex(field.get_bitstring().uint),
            "readable": field.is_readable(),
            "writeable": field.is_writeable(),
        }
        for field in efuses
    }
