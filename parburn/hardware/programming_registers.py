"""What the programming registers hold, as far as it is known, and the writes that make it what a step needs.

A mirror in memory: it sends and reads nothing. `Controller` asks it for writes, and tells it what was read
back, that a burn was begun, or that nothing is known any more. What is known of the data words, of CMD and of
the timing moves together, so it stands in one place.

The writes stay in the ROM's buffer behind their packet, so their order matters (head of `controller`): words
that are not zero first, then CMD, then zeros, then timing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from parburn.chips.model import Chip, RegisterWrite
from parburn.efuse.plan import BurnStep

CMD_PROGRAM = 0x2
BLOCK_NUMBER_SHIFT = 2

# Which of some writes is at the second place of the ROM's buffer once all are executed:
# FrameBuilder.second_left.
SecondLeft = Callable[[tuple[RegisterWrite, ...]], int | None]


class ProgrammingRegisters:
    """The mirror of one chip's programming registers. `addresses` are those of the data words."""

    def __init__(self, chip: Chip) -> None:
        self.addresses = chip.programming_addresses
        self.guessed = True  # a reset leaves zeros; where that is wrong the first read-back says so
        self.timing: tuple[RegisterWrite, ...] = ()
        self._chip = chip
        self._cmd = chip.registers["CMD"]
        self._known: dict[int, int] = dict.fromkeys((*self.addresses, self._cmd), 0)
        self._timing_read_back = False
        self._timing_left: tuple[RegisterWrite, ...] = ()
        self._may_hold_key = False  # until a step without one was read back
        self._step: BurnStep | None = None
        self._want: dict[int, int] = {}

    def _words_for(self, step: BurnStep) -> dict[int, int]:
        """Return what each data word must hold before this step's program command.

        CMD is among them where it has the block number.
        """
        raise AssertionError("the registers are either those of a classic or of a pgm controller")

    def set_timing(self, timing: tuple[RegisterWrite, ...], reading: Mapping[int, int]) -> None:
        """Take the writes that set the timing: done with the first step, and read back.

        What already stands in `reading` is read back only. A write that changes nothing may go to a wrong
        address unseen: nothing is missing where it was aimed at.
        """
        self.timing = timing
        self._timing_read_back = False
        self._timing_left = tuple(
            w for w in timing if w.address not in reading or (reading[w.address] ^ w.value) & w.mask
        )

    def wanted(self, step: BurnStep) -> Mapping[int, int]:
        """Return what each register must hold for this step, by address."""
        if self._step is not step:
            self._step, self._want = step, self._words_for(step)
        return self._want

    def writes_for(self, step: BurnStep) -> tuple[RegisterWrite, ...]:
        """Return the writes that stage a step, in their order; only registers that differ are written."""
        known, cmd = self._known, self._cmd
        self._may_hold_key |= _has_key(step)
        words: list[RegisterWrite] = []
        number: list[RegisterWrite] = []
        zeros: list[RegisterWrite] = []
        for address, word in self.wanted(step).items():
            if known.get(address) != word:
                place = number if address == cmd else words if word else zeros
                place.append(RegisterWrite(address, word))
        return self._arranged((*words, *number, *zeros, *self._timing_left))

    def _arranged(self, writes: tuple[RegisterWrite, ...]) -> tuple[RegisterWrite, ...]:
        return writes

    def to_read_back(self, step: BurnStep) -> tuple[int, ...]:
        """Return the registers that show whether a step is staged: data words, and what else was written."""
        timing = () if self._timing_read_back else tuple(dict.fromkeys(w.address for w in self.timing))
        return (*self.wanted(step), *timing)

    def accept(self, step: BurnStep, reading: Mapping[int, int]) -> bool:
        """Take what was read back; return whether the step is staged."""
        want = self.wanted(step)
        self._known = {address: reading[address] for address in want}
        timing_fits = not any(
            (reading[w.address] ^ w.value) & w.mask for w in self.timing if w.address in reading
        )
        fits = timing_fits and self._known == want
        self._timing_read_back = fits  # a damaged write may have gone anywhere
        self._timing_left = () if fits else self.timing
        self.guessed = False
        if fits:
            self._may_hold_key = _has_key(step)
        return fits

    def begin_burn(self) -> None:
        """Keep only the zeros of what is known: a burn is about to begin.

        Whether a burn clears the registers differs by chip; a zero stays zero either way.
        """
        self._known = {address: 0 for address, word in self._known.items() if word == 0}

    def forget_words(self) -> None:
        """Forget the data words: a busy controller may not have taken what was written."""
        self._known.clear()

    def forget(self) -> None:
        """Forget all registers: the ROM may have restarted, or a write gone to a wrong address."""
        self._known.clear()
        self._timing_read_back, self._timing_left = False, self.timing

    def clearing_writes(self) -> tuple[RegisterWrite, ...]:
        """Return the writes that leave no key behind, and forget the data words. What is no key may stay."""
        known, self._known = self._known, {}
        if not self._may_hold_key:
            return ()
        return tuple(RegisterWrite(a, 0) for a in self.addresses if known.get(a) != 0)


class PgmRegisters(ProgrammingRegisters):
    """PGM_DATA0..7 and CHECK_VALUE0..2, shared by all blocks; the block's number stands in CMD."""

    def __init__(self, chip: Chip, second_left: SecondLeft) -> None:
        super().__init__(chip)
        self._second_left = second_left
        self._reach = 0  # how far into a packet the last staging put words that are not zero
        self._idle = RegisterWrite(chip.dummy_register, 0, 0)  # does nothing; takes its place in the buffer

    def _words_for(self, step: BurnStep) -> dict[int, int]:
        (write,) = step.writes
        padded = (*write.words, *(0,) * (len(self.addresses) - len(write.words)))
        words = dict(zip(self.addresses, padded, strict=True))
        words[self._cmd] = write.block.index << BLOCK_NUMBER_SHIFT  # without PGM: nothing starts
        return words

    def _arranged(self, writes: tuple[RegisterWrite, ...]) -> tuple[RegisterWrite, ...]:
        entries = (*writes, self._idle) if len(writes) < self._reach else writes
        entries = self._no_command_second(entries)
        self._reach = 0
        for at, one in enumerate(entries, 1):
            if one.value and one.address in self.addresses:
                self._reach = at
        return entries

    def _no_command_second(self, entries: tuple[RegisterWrite, ...]) -> tuple[RegisterWrite, ...]:
        """Exchange two entries, if need be, so that the program packet finds no command at CMD's place."""
        second = self._second_left(entries)
        if second is None or not entries[second].value & CMD_PROGRAM:
            return entries
        for at, one in enumerate(entries):
            if not one.value & CMD_PROGRAM:
                changed = [*entries]
                changed[at], changed[second] = entries[second], one
                left = self._second_left(tuple(changed))
                if left is not None and not changed[left].value & CMD_PROGRAM:
                    return tuple(changed)
        return self._no_command_second((*entries[:second], self._idle, *entries[second:]))


class ClassicRegisters(ProgrammingRegisters):
    """WDATA registers of each block; one program command burns all sets, so all are staged and read back."""

    def _words_for(self, step: BurnStep) -> dict[int, int]:
        want = dict.fromkeys(self.addresses, 0)
        for write in step.writes:
            for n, word in enumerate(write.words):
                want[write.block.write_address + 4 * n] = word
        return want

    def to_read_back(self, step: BurnStep) -> tuple[int, ...]:
        """Return also the timing registers that a misdirected zero may have hit.

        A zero is written to a register that the last burn has cleared: where a flipped bit of its address
        takes it into a timing register, nothing else shows that.
        """
        addresses = super().to_read_back(step)
        zeros = [a for a, word in self.wanted(step).items() if not word and self._known.get(a) != 0]
        beside = [
            one.address
            for one in self.timing
            if one.address not in addresses and any((one.address ^ a).bit_count() == 1 for a in zeros)
        ]
        return (*addresses, *beside)


def _has_key(step: BurnStep) -> bool:
    """Tell whether staging this step may put a key into the programming registers."""
    return any(write.block.for_keys for write in step.writes)
