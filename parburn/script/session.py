"""One device as its script knows it: the image, what is staged, and the way to the chip.

Runs in the script's thread; only the bridge leaves it.

A command works on a `Draft`, a copy of what is staged, which replaces it when the command succeeds: a refused
command stages nothing. The pure functions of `parburn.efuse` raise BlockNotRead for a block that was not read
yet; then it is read and the command starts again on a fresh draft.

A script may have threads of its own. Their calls are taken in turn, one at a time (`in_turn`): a burn ends
before another thread stages or burns anything, so nothing that one stages is taken for burned by another.
What was asked for before the script ended is done before it counts as ended.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from parburn.chips.model import Block, Chip, Codec, Field, RegisterWrite
from parburn.config.records import ConfigFiles
from parburn.efuse.held_back import NOTHING_HELD, HeldBack, hold_back
from parburn.efuse.image import BlockNotRead, EfuseImage
from parburn.efuse.key_blocks import holds_digest, holds_key, is_key, may_hold_key
from parburn.efuse.plan import plan_burns
from parburn.efuse.staging import StagedBurns
from parburn.efuse.user_values import (
    Declared,
    Kind,
    Place,
    Take,
    Written,
    is_value,
    rules_of,
    shown,
    take_of,
)
from parburn.errors import (
    ChipError,
    EfuseError,
    InternalError,
    ParburnError,
    ScriptError,
    UnitRefused,
    UnknownName,
    UsageError,
)
from parburn.nearest import did_you_mean
from parburn.script.bridge import Bridge
from parburn.script.inputs import Digests, RunInputs
from parburn.script.key_mask import KeyMask, Shown
from parburn.script.register_guard import checked_address, checked_write

T = TypeVar("T")
P = ParamSpec("P")


class DeviceFacts(NamedTuple):
    """What is known of the device before its script runs.

    `mac` is the factory MAC, first byte first; `package` is the package code where it is known;
    `security_flags` are those of GET_SECURITY_INFO, None where the ROM has no such command.
    """

    port: str
    chip: Chip
    index: int | None  # type: ignore[assignment]  # not tuple.index
    mac: bytes
    major: int
    minor: int
    crystal_mhz: int
    package: int | None
    security_flags: int | None
    secure_download: bool
    slot: str = ""

    @property
    def revision(self) -> int:
        """The silicon revision, major * 100 + minor."""
        return self.major * 100 + self.minor


class PortLoss(Protocol):
    """Tells when the board's port is lost."""

    def tell(self, call: Callable[[ParburnError], object]) -> None:
        """Have `call` called on the event loop once the port is lost; at once where it is."""


class DeviceCalls(Protocol):
    """What a script may ask of its device. Coroutines of the event loop.

    Each raises ParburnError; after any but an EfuseError the script goes no further.
    """

    async def burn(self, staged: StagedBurns, image: EfuseImage, written: tuple[Written, ...]) -> EfuseImage:
        """Plan, confirm and commit; return what the chip shows then.

        Args:
            staged: What the script asked for.
            image: What the script saw.
            written: Places that the scripts have asked for so far, which may tell this chip from others.
        """

    async def held_back(self, held: HeldBack) -> None:
        """Learn all that waits for the end of the scripts; the script sees it as burned."""

    async def read_blocks(self, indexes: frozenset[int]) -> EfuseImage:
        """Read blocks that are not known yet; return an image that has them."""

    async def read_registers(self, addresses: tuple[int, ...]) -> list[int]:
        """Read any registers; return their values in the order of the addresses."""

    async def write_registers(self, writes: tuple[RegisterWrite, ...]) -> None:
        """Write registers; those of the eFuse controller were refused before."""


class ScriptOptions(NamedTuple):
    """What the command line says about scripts."""

    config_files: ConfigFiles = ConfigFiles()
    timeout_s: float = 60.0
    allow_fixed_index: bool = False
    show_sensitive_info: bool = False
    debug: bool = False
    do_not_confirm: bool = False
    baud: int = 115200
    before: str = "default-reset"
    declared: Declared = Declared()
    inputs: RunInputs | None = None  # of all boards; None: nobody asks what was read
    # Raises UsageError for a file that no option may write; the option, and what scripts have read so far.
    refuse_output: Callable[[Path, str, Collection[str]], None] | None = None
    keys: KeyMask | None = None  # of all boards; None: each board has its own
    inputs_end: bool = False  # what a board has read is forgotten when its scripts have ended
    rehearsal: bool = False  # nothing is there to be burned: `args.rehearsal`


class ScriptOutcome(NamedTuple):
    """How a device's scripts ended.

    `staged` is what is left to burn, empty after an error; `held` is to be burned behind it, and `image` is
    the chip without that. `had_staged`: something was staged at some time.
    `written` are the places that they asked for, also where nothing was staged because it is there already.
    `inputs` are path and keyed digest of each file that they read.
    """

    staged: StagedBurns
    image: EfuseImage
    error: ScriptError | ParburnError | None
    written: tuple[Written, ...]
    had_staged: bool
    inputs: Digests = ()
    held: HeldBack = NOTHING_HELD


class Draft:
    """A command at work: reads `image`, stages into its own copy, keeps what it will say.

    That is printed, and `effects` are done, once the command has succeeded.
    """

    __slots__ = ("effects", "image", "said", "session", "staged", "written")

    def __init__(self, session: Session, image: EfuseImage, staged: StagedBurns) -> None:
        self.session = session
        self.image = image
        self.staged = staged
        self.said: list[str] = []
        self.effects: list[Callable[[], None]] = []
        self.written: list[Written] = []

    @property
    def chip(self) -> Chip:
        """The chip row."""
        return self.image.chip

    def say(self, text: str = "") -> None:
        """Print a line when the command has succeeded."""
        self.said.append(text + "\n")

    def may_write(self, path: Path, option: str) -> None:
        """Raise EfuseError where a command would overwrite an input of this run, or a ledger."""
        options = self.session.options
        if options.refuse_output is not None:
            try:
                options.refuse_output(path, option, options.inputs.only_read() if options.inputs else ())
            except UsageError as refused:
                raise EfuseError(str(refused), hint=refused.hint) from refused

    def show(self, text: str) -> None:
        """Print a line, as `say`, that stays as it is: what must not be seen was left out of it."""
        self.said.append(Shown(text + "\n"))

    def block(self, name: str) -> Block:
        """Return a block by name or alias.

        Raises:
            UnknownName: there is none; it names the nearest ones.
        """
        block = self.chip.block_by_name.get(name)
        if block is None:
            raise UnknownName(
                f"{self.chip.title} has no block named {name!r}{nearest(name, self.chip.block_by_name)}"
            )
        return block

    def wrote(
        self, kind: Kind, name: str, block: int, start: int, bits: int, *, by_key_command: bool = False
    ) -> None:
        """Note a place that this command asks for: what it holds then may tell this chip from others."""
        self.written.append(Written(kind, Place(block, start, bits), name, by_key_command))

    def wrote_field(self, one: Field, bits: int) -> None:
        """Note a field that this command asks for, if it is one that may tell chips apart.

        Raises:
            UnitRefused: the chip carries another value there already. It ends the script.
        """
        if one.start is None or not (one.block or one.custom):
            return
        if is_value(one):
            self._refuse_other(one, bits)
            self.wrote(Kind.FIELD, one.name, one.block, one.start, one.bits)
        elif one.codec is Codec.KEYBLOCK or one.name in self.chip.blocks[one.block].names:
            self.wrote(Kind.DATA, one.name, one.block, one.start, one.bits)

    def _refuse_other(self, one: Field, bits: int) -> None:
        """Raise UnitRefused where the chip holds a value of another record: it is another unit's."""
        session = self.session
        have = self.image.field_bits(one)
        if not have or have == bits or not bits or self.staged.force:
            return
        rules = rules_of(self.chip, session.options.declared)
        place = Place(one.block, one.start or 0, one.bits)
        if any(before.place == place for before in session.written):
            return  # the script's own, burned before
        if one.codec is not Codec.CUSTOM_MAC and take_of(rules, (place,)) is Take.SAME:
            return
        there, asked = (shown(self.image, one, value, rules) for value in (have, bits))
        index = "" if session.facts.index is None else f" for index {session.facts.index}"
        session.broken = UnitRefused(
            f"this chip carries {one.name} {there}, and the script asks for {asked}{index}: "
            "it has the values of another record",
            hint="Nothing was burned by this. Find the batch and index that this chip was burned with "
            "(parburn ledger show, on the PC that burned it) and go on with these; or take the board out of "
            "the line.",
        )
        raise session.broken


def in_turn(function: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate[Session, P], T]:
    """Make a method wait until no other thread of the script is in one. One may call another."""

    def called(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.turn:
            return function(self, *args, **kwargs)

    functools.update_wrapper(called, function)
    return called


class _Turn:
    """A lock that knows whether threads wait for it."""

    __slots__ = ("_asking", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._asking: set[int] = set()

    def __enter__(self) -> None:
        me = threading.get_ident()
        self._asking.add(me)
        try:
            self._lock.acquire()
        finally:
            self._asking.discard(me)

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def is_asked_for(self) -> bool:
        """Whether another thread waits."""
        return bool(self._asking)


class Session:
    """One device as its script knows it; see the module."""

    def __init__(
        self,
        facts: DeviceFacts,
        image: EfuseImage,
        calls: DeviceCalls,
        options: ScriptOptions,
        bridge: Bridge,
        say: Callable[[str], None],
    ) -> None:
        self.facts = facts
        self.real = image  # what the chip shows
        self.image = image  # what the script sees: the same, and what is held back as if it were burned
        self.held = NOTHING_HELD
        self.options = options
        self.keys = options.keys or KeyMask(shows_keys=options.show_sensitive_info)
        self._note_keys_in(image)
        self.staged = StagedBurns()
        self.had_staged = False
        self.written: dict[Written, None] = {}  # in order, each once
        self.broken: ParburnError | None = None  # a burn or the line failed: nothing goes on
        self.say = say
        self.files = options.inputs or RunInputs()
        self.inputs = self.files.board()
        self.inputs.refuse = self.stop_with
        self.globals: dict[str, Any] = {}
        self.turn = _Turn()
        self._calls = calls
        self._bridge = bridge

    @property
    def chip(self) -> Chip:
        """The chip row."""
        return self.image.chip

    # Reading ------------------------------------------------------------------------------------------

    @in_turn
    def read(self, function: Callable[[EfuseImage], T]) -> T:
        """Apply a pure function to the image, reading blocks as it needs them; return what it returns.

        Raises:
            ParburnError: what the function or a read raises, or an earlier failure of this board.
            ScriptStopped: the script is past its deadline.
        """
        self._check()
        for _ in range(len(self.chip.blocks) + 1):
            try:
                return function(self.image)
            except BlockNotRead as missing:
                self._fetch(missing.index)
        raise ChipError("the same block was asked for again after it had been read")

    def _fetch(self, index: int) -> None:
        known = self._cross(self._calls.read_blocks, frozenset({index}))
        status = {index: known.status[index]} if index in known.status else None
        errors = known.block0_errors if index == 0 else None
        self._show(self.real.with_blocks({index: known.block(index)}, status, errors))
        self._note_keys_in(self.image)

    def _show(self, real: EfuseImage) -> None:
        """Take over what the chip shows now."""
        self.real, self.image = real, self.held.over(real)

    def field_named(self, name: str) -> Field:
        """Return a field by name or alternative name.

        Raises:
            UnknownName: there is none; it names the nearest ones.
        """
        return self.read(lambda image: image.field_named(name))

    @in_turn
    def read_registers(self, addresses: tuple[int, ...]) -> list[int]:
        """Return registers of the chip as they are now."""
        found = list(self._cross(self._calls.read_registers, tuple(map(checked_address, addresses))))
        if self.held:
            words = self.chip.read_registers[0]
            shown = zip(addresses, found, strict=True)
            found = [
                value | self.held.bits >> 32 * words.index(at) & 0xFFFFFFFF if at in words else value
                for at, value in shown
            ]
        return found

    @in_turn
    def write_register(self, write: RegisterWrite) -> None:
        """Write a register that is not the eFuse controller's.

        Raises:
            EfuseError: it is the eFuse controller's.
        """
        self._cross(self._calls.write_registers, (checked_write(self.chip, write),))

    # Keys ---------------------------------------------------------------------------------------------

    def _note_keys_in(self, image: EfuseImage) -> None:
        """Note what key blocks show, but where they hold something else."""
        chip = self.chip
        for index, bits in image.blocks.items():
            block = chip.blocks[index]
            if bits and may_hold_key(chip, block) and not holds_digest(image, block):
                others = any(
                    one.custom and one.block == index and not is_key(image, one) for one in chip.fields
                )
                if not others or holds_key(image, block):
                    self.keys.give(bits.to_bytes(4 * block.words, "little"))

    def _note_keys_staged(self) -> None:
        """Note what blocks get that hold a key then, by whatever command."""
        for index, bits in self.staged.blocks().items():
            block = self.chip.blocks[index]
            secret = holds_key(self.image, block, self.staged)
            if index and secret and not holds_digest(self.image, block, self.staged):
                self.keys.give(bits.to_bytes(4 * block.words, "little"))

    # Staging and burning ------------------------------------------------------------------------------

    @in_turn
    def change(self, command: Callable[[Draft], T]) -> T:
        """Run a command on a draft and take over what it staged; return what it returns.

        A command that raises stages nothing.
        """

        def attempt(image: EfuseImage) -> tuple[Draft, T]:
            draft = Draft(self, image, self.staged.copy())
            return draft, command(draft)

        draft, result = self.read(attempt)
        for effect in draft.effects:
            effect()
        self.staged = draft.staged
        self.had_staged = self.had_staged or bool(draft.staged)
        self.written.update(dict.fromkeys(draft.written))
        self._note_keys_staged()
        for text in draft.said:
            self.say(text)
        return result

    @in_turn
    def burn_all(self) -> bool:
        """Burn what is staged; then the image shows what the chip shows. Return True, as the original does.

        Raises:
            EfuseError: refused before the first bit; what is staged stays staged.
            ParburnError: anything else; nothing goes on after it.
        """
        self._check()
        if not self.staged:
            self.say("Nothing to burn.\n")
            return True
        now, held = self._parted()
        if held != self.held:
            self._cross(self._calls.held_back, held)
        real = self.real
        if now:
            real = self._cross(self._calls.burn, now, real, tuple(self.written))
        self.held = held
        self._show(real)
        self._note_keys_in(self.image)
        self.staged = self.staged.copy()  # the burn may still look at what it was given
        self.staged.clear()
        return True

    def _parted(self) -> tuple[StagedBurns, HeldBack]:
        """Return what is burned now, and what is held back until the scripts have ended.

        All of it is planned together before: what the hardware forbids is refused here, and not at the end.
        """
        now, held = hold_back(self.real, self.staged, self.held)
        if held:
            self.read(lambda image: plan_burns(image, self.staged))
            now, held = hold_back(self.real, self.staged, self.held)
        return now, held

    @in_turn
    def burn_block(self, index: int) -> bool:
        """Burn what is staged for one block; the rest stays staged. See `burn_all`."""
        rest = self.staged
        self.staged = rest.only(index)
        try:
            done = self.burn_all()
        except BaseException:
            self.staged = rest
            raise
        self.staged = rest.without(index)
        return done

    # The way out --------------------------------------------------------------------------------------

    def end(self) -> None:
        """Take note that the script has ended.

        What its threads have asked for until now is done first; what they ask for later raises in them.
        """
        while True:
            with self.turn:
                if not self.turn.is_asked_for():
                    self._bridge.close()
                    return
            time.sleep(0.001)  # the lock is not fair: let them have it

    def _check(self) -> None:
        self._bridge.check()
        if self.broken is not None:
            raise self.broken

    def stop_with(self, error: ParburnError) -> None:
        """Let nothing go on, whatever the script makes of the error."""
        self.broken = self.broken or error

    def _cross(self, function: Callable[..., Any], *arguments: object) -> Any:
        self._check()
        try:
            return self._bridge.call(function, *arguments)
        except EfuseError:
            raise  # refused before its first bit: the script may go on
        except ParburnError as error:
            self.stop_with(error)
            raise
        except CancelledError:
            raise
        except Exception as error:  # a defect of ours: no script may pass over it
            self.stop_with(InternalError(error))
            raise


def nearest(name: str, known: Mapping[str, object]) -> str:
    """Return a question that names what was perhaps meant, or nothing."""
    question = did_you_mean(name, known)
    return f"; {question}" if question else ""


def read_file(session: Session, path: str | Path) -> bytes:
    """Return the bytes of a file that a command names; a pipe gives the same to all boards of the run.

    Raises:
        EfuseError: it cannot be read; with the system's words.
    """
    try:
        content = session.files.pipes.content(path)
        if content is not None:
            return content
        with Path(path).open("rb", buffering=0) as file:
            return file.readall()
    except (OSError, ValueError) as error:  # the latter: what no file can be called
        raise EfuseError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
