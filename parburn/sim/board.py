"""One simulated board: loader, controller, cells and line put together. Bytes in, bytes out.

Sans-IO: the caller passes in the time (seconds on any clock that does not go back), tells what the host
sent with `receive`, asks when to come again with `next_event`, and takes with `advance` + `take_output`
what the host gets by then.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping

from parburn.chips.model import Chip, LinkEndKind
from parburn.sim.efuse_controller import EfuseController, ProgramPulse
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.fault import Fault, Faults, Swapped, Unplugged
from parburn.sim.link import TX_FIFO_BYTES, LineToChip, LineToHost, byte_seconds
from parburn.sim.registers import MAGIC_ADDRESS, Registers, clkdiv_address
from parburn.sim.rom_loader import ChipResetError, SimulatedRom

FIRST_BAUD = 115200
BOOT_S = 0.01  # from reset to the first byte that the loader hears
RESET_LOOP_S = 0.5
AUTOBAUD_MARK = b"UUUUUUUU"  # eight bytes of SYNC's payload are enough to measure the rate
LONG_AFTER = 1e12
ECO_VERSION = 3
LAST_KEY_PURPOSE = 0x0C  # what the seventh place of the recorded answers holds

_SECURITY_FLAGS = (
    "SECURE_BOOT_EN",
    "SECURE_BOOT_AGGRESSIVE_REVOKE",
    "ENABLE_SECURITY_DOWNLOAD",
    "SECURE_BOOT_KEY_REVOKE0",
    "SECURE_BOOT_KEY_REVOKE1",
    "SECURE_BOOT_KEY_REVOKE2",
    "SOFT_DIS_JTAG",
    "DIS_PAD_JTAG",
    "DIS_USB",
    "DIS_DOWNLOAD_DCACHE",
    "DIS_DOWNLOAD_ICACHE",
)


class SimulatedBoard:
    """A chip in download mode behind a USB-serial adapter."""

    def __init__(
        self,
        memory: EfuseMemory,
        *,
        crystal_mhz: int,
        registers: Mapping[int, int] | None = None,
        faults: Fault | None = None,
        baud_limit: int = 0,
        usb_frame_s: float = 0.0,
        on_burn: Callable[[ProgramPulse], None] = lambda record: None,
        now: float = 0.0,
    ) -> None:
        self.chip: Chip = memory.chip
        self.memory = memory
        self.soldered_mhz = crystal_mhz
        self.preset = dict(registers or {})
        self.faults = faults or Faults()
        self.crystal_mhz = self.faults.crystal_mhz(crystal_mhz)
        self.baud_limit = baud_limit
        self.registers = Registers(self.chip)
        self.controller = EfuseController(
            memory, self.registers, crystal_mhz=self.crystal_mhz, faults=self.faults, on_burn=on_burn
        )
        self.to_chip = LineToChip(1 << self.chip.ring_bytes.bit_length())
        self.to_host = LineToHost(usb_frame_s)
        self.unplugged: Unplugged | None = None
        self.swapped: Swapped | None = None
        self.name = ""
        self.loader_runs = True  # False: held in reset, or in a program of its own
        self.cuts_pulses = False
        self.resets = self.packets = self.received = self.sent = 0
        self._cmd = self.chip.registers["CMD"]
        self._host_baud = FIRST_BAUD
        self._late_s = 0.0
        self.reset(now)

    # Reset and power --------------------------------------------------------------------------------

    def reset(self, now: float) -> None:
        """Start the ROM anew: registers at their reset values, eFuses loaded, the boot log on the line."""
        self.resets += 1
        self.registers.words.clear()
        self.registers.words.update(self.preset)
        self.registers.words.setdefault(MAGIC_ADDRESS, next(iter(self.chip.magics), 0))
        self._believe_crystal()
        self.controller.reset()
        self.mode = self.controller.link_state
        if self.mode is LinkEndKind.NEXT_RESET:
            self.mode = LinkEndKind.NO_DOWNLOAD
        self.loader = SimulatedRom(self, secure_download=self.mode is LinkEndKind.SECURE_DOWNLOAD)
        self.baud, self._synced = FIRST_BAUD, False
        self._set_divider()
        self._busy_until = self._deaf_until = now + BOOT_S
        self._was_busy = True
        self._loop_at = (
            now + RESET_LOOP_S if self.mode is LinkEndKind.NO_DOWNLOAD and self.memory.pgm else math.inf
        )
        self.to_chip.clear()
        self.send(self._boot_log(), now)

    def give_faults(self, faults: Fault, now: float, *, stay_powered: bool = False) -> None:
        """Take other faults from now on; their positions count from here.

        Args:
            faults: The new ones.
            now: The time in seconds.
            stay_powered: The chip goes on with all that it holds, with the crystal that it has, and inside
                the frame whose end never came. Otherwise this is a power cycle.
        """
        self.faults = self.controller.faults = faults
        self.unplugged = self.swapped = None
        if stay_powered:
            self.to_host.clear()  # nobody has the port open
        else:
            self.crystal_mhz = self.controller.crystal_mhz = faults.crystal_mhz(self.soldered_mhz)
            self.power_cycle(now)
        self.packets = self.received = self.sent = self.controller.programs = 0
        self._late_s = 0.0

    def _boot_log(self) -> bytes:
        what = "no download mode" if self.mode is LinkEndKind.NO_DOWNLOAD else "waiting for download"
        return (
            f"ROM of {self.chip.title} (simulated)\r\nrst:0x1 (POWERON),boot:download\r\n{what}\r\n".encode()
        )

    def power_cycle(self, now: float) -> None:
        """Let what the host sent still arrive and a running operation end; then switch the power off and on.

        The ROM is up again at once: off was a moment ago, on was before anybody can talk to it.
        """
        self.advance(LONG_AFTER)
        self.reset(now - BOOT_S)
        self.to_host.clear()
        self._loop_at = math.inf

    def lose_power(self, now: float) -> None:
        """Be pulled out or held in reset now: what was on the line is lost.

        A running program pulse ends as in `power_cycle`; with `cuts_pulses` it burns the part that its time
        allowed.
        """
        self.to_chip.clear()
        if self.cuts_pulses:
            self.controller.cut(now)
        self.power_cycle(now)

    def start(self, now: float, *, download: bool) -> None:
        """Come out of reset now.

        Args:
            now: The time in seconds.
            download: The boot pin is low: the loader runs. Otherwise the chip's own program does, which
                answers nobody.
        """
        self.reset(now)
        self.loader_runs = download
        if not download:
            self._loop_at = math.inf
            self.to_host.clear()
            self.send(
                f"ROM of {self.chip.title} (simulated)\r\nrst:0x1 (POWERON),boot:flash\r\n".encode(), now
            )

    # The line ---------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float, host_baud: int = FIRST_BAUD) -> None:
        """Take bytes that the host sends now, with its UART at `host_baud`."""
        if not self.loader_runs:
            return
        if self.faults:
            whole, data = data, self.faults.from_host(data, self.received + 1)
            self.received += len(whole)
            self.unplugged = self.unplugged or self.faults.unplugged(self.received)
            self.swapped = self.swapped or self.faults.swapped(self.received)
            if self.unplugged or self.swapped or self.faults.link_is_silent(self.received, now):
                return
        else:
            self.received += len(data)
        self._host_baud = host_baud
        self.to_chip.put(data, now, byte_seconds(host_baud, self.baud_limit), host_baud)

    def send(self, data: bytes, now: float) -> None:
        """Send bytes of the ROM to the host (part of the loader's `Bus`)."""
        start, self.sent = self.sent + 1, self.sent + len(data)
        if self.faults:
            data, late_s = self.faults.to_host(data, start)
            self._late_s += late_s
            if self.faults.link_is_silent(self.received, now):
                return
        self.to_host.put(data, now + self._late_s, byte_seconds(self.baud, self.baud_limit), self.baud)

    def take_output(self, now: float) -> bytes:
        """Return what has reached the host since the last call."""
        return self.to_host.take(now, self._host_baud)

    def next_event(self) -> float:
        """Return when to call `advance` again at the latest; infinity when nothing is under way."""
        line = max(self._busy_until, self.to_chip.next_event()) if self.to_chip else math.inf
        return min(line, self.to_host.next_event(), self.controller.next_event(), self._loop_at)

    def advance(self, now: float) -> None:
        """Let everything happen that happens until now."""
        line = self.to_chip
        while line:
            if self._busy_until > now:
                self._spill(now)
                break
            if self._was_busy:
                self._spill(self._busy_until)
                self._was_busy = False
            if line.ring:
                at, whole = self.loader.slip.feed(line.ring, 0)
                line.ring = line.ring[at:]
                if whole:
                    self._execute(self._busy_until)
                continue
            if not line.bursts or not self._listen(now):
                break
        self._settle(now)
        if now >= self._loop_at:
            self._loop_at = now + RESET_LOOP_S
            self.send(self._boot_log(), now)

    def _spill(self, until: float) -> None:
        self.to_chip.spill(until, self.baud)
        if until <= self._deaf_until:
            self.to_chip.ring = b""  # the ROM has not come up yet: its UART has no ear

    def _listen(self, now: float) -> bool:
        """Hear the first burst until a frame is whole or no more has arrived; False: wait."""
        burst = self.to_chip.bursts[0]
        if not self._synced and AUTOBAUD_MARK in burst.data:
            self._measure(burst.baud)
        burst.heard_at(self.baud)
        at, whole = self.loader.slip.feed(burst.data[: burst.arrived(now)], burst.at)
        burst.at = at
        if at == len(burst.data):
            self.to_chip.bursts.popleft()
        if whole:
            self._execute(burst.time_of(at - 1))
        return whole or at == len(burst.data)

    def _execute(self, now: float) -> None:
        self.packets += 1
        if self.faults:
            kept = self.faults.bytes_kept(self.packets, bytes(self.loader.slip.frame), self.chip)
            if kept is not None:
                self.loader.slip.lose_tail(kept)
                return
        try:
            if self.mode is LinkEndKind.NO_DOWNLOAD:
                return
            if self.faults and self.faults.reboots(self.packets):
                raise ChipResetError(now)
            done = self.loader.execute(now)
            if self.faults and self.faults.resets_after(self.packets):
                raise ChipResetError(done)
        except ChipResetError as event:
            self.reset(event.at)
            return
        pace = byte_seconds(self.baud, self.baud_limit)
        self._busy_until = max(done, self.to_host.free_at - TX_FIFO_BYTES * pace) if pace else done
        self._was_busy = self._busy_until > now

    # What the loader runs on ------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        if now >= self.controller.next_event():
            self.controller.settle(now)
        if self.controller.browned_out:
            self.reset(now)

    def check_fuses(self, now: float) -> None:
        """Raise ChipResetError where the ROM of a PGM chip sees that its download fuses now forbid it.

        Such a ROM looks at them all the time.
        """
        self.controller.settle(now)
        closed = self.memory.pgm and self.controller.link_state != self.mode
        if closed or self.controller.browned_out:
            raise ChipResetError(now)

    def read(self, address: int, now: float) -> int:
        """Return a register as the processor reads it now.

        Raises:
            BusError: nothing answers at this address.
        """
        if address == self._cmd:
            return self.controller.read_cmd(now)
        if now >= self.controller.next_event():
            self.controller.settle(now)
        return self.registers.read(address)

    def write(self, address: int, value: int, now: float) -> None:
        """Write a register as the processor does.

        Raises:
            BusError: nothing answers at this address.
        """
        if address == self._cmd:
            self.controller.write_cmd(value, now)
        else:
            self.controller.settle(now)
            self.registers.write(address, value)

    def set_baud(self, baud: int) -> None:
        """Change the UART's rate (CHANGE_BAUDRATE).

        A ROM that takes its crystal for another one sets another rate than asked.
        """
        self.baud, self._synced = max(1, round(baud * self.crystal_mhz / self._believed_mhz())), True
        self._set_divider()

    def _believe_crystal(self) -> None:
        """Fill the register, where there is one, that says what the ROM takes its crystal for.

        That is the largest, or what it counts of it against a clock that does not drift, if the factory has
        measured that.
        """
        crystal = self.chip.crystal
        if crystal.rom_address is None:
            return
        value = max(crystal.choices)
        if crystal.rom_clock is not None:
            clock = self.memory.field_bits(crystal.rom_clock)
            value = round(self.crystal_mhz * 1e6 / 15625 * 40 / clock) if clock else 0
        self.registers.words.setdefault(crystal.rom_address, value << crystal.rom_shift)

    def _believed_mhz(self) -> float:
        crystal = self.chip.crystal
        if crystal.rom_address is None:
            return crystal.rom_mhz or self.crystal_mhz
        count = (self.registers.words.get(crystal.rom_address, 0) & crystal.rom_mask) >> crystal.rom_shift
        if crystal.rom_clock is None:
            return count
        mhz = count * self.memory.field_bits(crystal.rom_clock) * 15625 / 40 / 1e6
        if crystal.rom_rounds_from is None or self._major_revision() < crystal.rom_rounds_from:
            return mhz or self.crystal_mhz  # a board that was made without: it is right
        if not 0 < mhz < 2 * max(crystal.choices):
            return crystal.rom_otherwise_mhz or self.crystal_mhz
        return sorted((abs(choice - mhz), choice) for choice in crystal.choices)[0][1]

    def _major_revision(self) -> int:
        """Return what the chip's fuses and registers say of it."""
        field = self.chip.field_by_name[self.chip.revision_fields[0]][0]
        if not field.sources:
            return self.memory.field_bits(field.name)
        raw = 0
        for source in field.sources:
            whole = (
                self.memory.field_bits(source.field)
                if source.field
                else self.registers.words.get(source.address or 0, 0)
            )
            raw |= (whole >> source.bit & (1 << source.bits) - 1) << source.shift
        return field.value_map.get(raw, raw)

    def _measure(self, baud: int) -> None:
        """Take the rate of the first SYNC after reset (autobaud)."""
        self.baud, self._synced = baud, True
        self._set_divider()

    def _set_divider(self) -> None:
        address = clkdiv_address(self.chip)
        if address not in self.preset:
            prescale = self.chip.crystal.prescale
            self.registers.words[address] = round(self.crystal_mhz * 1e6 * prescale / self.baud)

    def security_info(self) -> bytes:
        """Return the answer to GET_SECURITY_INFO: flags, SPI_BOOT_CRYPT_CNT, seven key purposes.

        Where the chip knows its number, that and a version follow (32 bits each, little-endian). Empty on
        classic chips, whose ROM has no such command.
        """
        if not self.memory.pgm:
            return b""
        value = self.memory.field_bits
        flags = sum(1 << n for n, name in enumerate(_SECURITY_FLAGS) if value(name))
        purposes = bytes(value(f"KEY_PURPOSE_{n}") & 0xFF for n in range(6))
        found = struct.pack("<IB", flags, value("SPI_BOOT_CRYPT_CNT")) + purposes + bytes([LAST_KEY_PURPOSE])
        if self.chip.chip_ids:
            found += struct.pack("<II", self.chip.chip_ids[0], ECO_VERSION)
        return found
