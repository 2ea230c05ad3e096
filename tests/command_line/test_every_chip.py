"""espefuse itself reads what parburn burned, on a board of every kind, and burns ours as its virtual chip.

Two runs of the `parburn` command burn and show all boards; `espefuse` 5.6 then comes as a client of its own,
over the port. The other way round it burns fresh boards, and their bits are those of its own `--virt` chip.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parburn.chips.model import Block, Codec, ControllerKind, Field
from tests.command import parburn
from tests.every_kind import KINDS, NAMES, Boards, Kind, every_kind
from tests.peers.client import ChipState, Commands, Peer
from tests.peers.compare import SUMMARY_KEYS
from tests.peers.venvs import peer_python, peers_are_off

VERSION = 5
SECRET = bytes(range(0x41, 0x61))
DIGEST = bytes(range(0x81, 0xA1))
DOUBLE = bytes(range(0xC0, 0x100))
UNIQUE_ID = 0xB00F
SCRIPT = """
for line in json.load(args.configfiles[0])[bytes(esp.read_mac()).hex(":")]:
    espefuse(esp, efuses, args, line)
"""

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1"),
]


@dataclass(frozen=True)
class Key:
    """A key to burn: where, what for, and the bytes as its file has them."""

    block: str
    use: str
    content: bytes
    file: str
    secret: bool

    @property
    def words(self) -> str:
        """Its part of a burn_key command."""
        return f"{self.block} {self.file} {self.use}".rstrip()


def place(kind: Kind, name: str) -> Field:
    return kind.chip.field_by_name[name][0]


def user_block(kind: Kind) -> Block:
    """Where the product's own data are: with the custom MAC address."""
    return kind.chip.blocks[place(kind, "CUSTOM_MAC").block]


def free_bit(kind: Kind) -> int:
    """The highest bit of the user's block that no field claims, but for one that is the whole block."""
    block = user_block(kind)
    size = 192 if kind.chip.controller is ControllerKind.CLASSIC else 32 * block.words
    taken = sum(
        {bit: 1 << bit for one in kind.chip.fields if one.block == block.index and one.bits < 192
         for bit in range(size) if one.mask >> bit & 1}.values()
    )  # fmt: skip
    return max((bit for bit in range(size) if not taken >> bit & 1), default=size - 1)


def keys_of(kind: Kind) -> tuple[Key, ...]:
    """A secret key and a digest, and a key of two blocks where the chip has one."""
    if not kind.chip.takes_purposes:
        return (
            Key("flash_encryption", "", SECRET, "secret.bin", True),
            Key("secure_boot_v2", "", DIGEST, "digest.bin", False),
        )
    first, *others = (block.name for block in kind.key_blocks)
    if not others:  # one key block: both halves of it
        secret, digest = "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS", "SECURE_BOOT_DIGEST"
        return (
            Key(first, secret, SECRET[:16], "half_secret.bin", True),
            Key(first, digest, DIGEST[:16], "half_digest.bin", False),
        )
    keys = (
        Key(first, "XTS_AES_128_KEY", SECRET, "secret.bin", True),
        Key(others[0], "SECURE_BOOT_DIGEST0", DIGEST, "digest.bin", False),
    )
    if kind.purpose("XTS_AES_256_KEY"):
        return (*keys, Key(others[1], "XTS_AES_256_KEY", DOUBLE, "double.bin", True))
    return keys


def custom_mac(board: int) -> str:
    return f"de:ad:be:ef:00:{board + 1:02x}"


def setting(kind: Kind) -> tuple[str, int]:
    """A plain field of BLOCK0 and a value for it."""
    return ("UART_PRINT_CONTROL", 2) if kind.has("UART_PRINT_CONTROL") else ("CONSOLE_DEBUG_DISABLE", 1)


def commands(board: int) -> tuple[str, ...]:
    """What is burned, in words that both tools take."""
    kind = KINDS[board]
    name, value = setting(kind)
    return (
        f"burn-custom-mac {custom_mac(board)}",
        "burn-key " + " ".join(key.words for key in keys_of(kind)),
        f"burn-bit {user_block(kind).name} {free_bit(kind)}",
        f"burn-efuse {name} {value} UNIQUE_ID {UNIQUE_ID:#x}",
    )


def table(kind: Kind) -> str:
    """The table with the product's own field: in the user's block, behind the custom MAC address."""
    block = user_block(kind).index
    start = 48 if place(kind, "CUSTOM_MAC").start == 0 else 64
    return f"UNIQUE_ID, EFUSE_BLK{block}, {start}, 16, [UID] Number of this unit\n"


def write_files(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "burn.py").write_text(SCRIPT)
    for kind in KINDS:
        (folder / f"{kind.chip.name}.csv").write_text(table(kind))
        for key in keys_of(kind):
            (folder / key.file).write_bytes(key.content)


def espefuse(port: str, kind: Kind, folder: Path, *words: str) -> str:
    """Run espefuse 5.6 on a port, as an operator would; what it printed."""
    done = subprocess.run(
        [str(peer_python(VERSION)), "-m", "espefuse", "--port", port, "--before", "no-reset",
         "--do-not-confirm", "--extend-efuse-table", f"{kind.chip.name}.csv", *words],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{kind.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def on_all_boards(boards: Boards, folder: Path, words: Sequence[Sequence[str]]) -> list[str]:
    """Run espefuse 5.6 on every board, two at a time."""

    def run(port: str, kind: Kind, line: Sequence[str]) -> str:
        return espefuse(port, kind, folder, *line)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, boards.ports, KINDS, words))


def virtual(folder: Path, starts: Sequence[Mapping[int, int]]) -> list[ChipState]:
    """What the virtual chips of espefuse 5.6 hold after the same commands, from the same bits."""
    found = []
    with Peer(VERSION) as peer:
        for board, kind in enumerate(KINDS):
            step = Commands(commands(board))
            outcome = peer.run(kind.chip.name, starts[board], [step], folder=folder, table=table(kind))
            (after,) = outcome.steps
            assert after.accepted, f"{kind.name}: {after.where}: {after.message}"
            found.append(after.state)
    return found


Summary = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Burned:
    """All boards after parburn burned them: by board."""

    before: list[list[int]]
    true: list[list[int]]
    visible: list[dict[int, int]]
    virtual: list[ChipState]
    ours: list[Summary]
    theirs: list[Summary]


@pytest.fixture(scope="module")
def burned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Burned]:
    """parburn burns a board of every kind and shows it; espefuse 5.6 shows it too."""
    folder = tmp_path_factory.mktemp("ours")
    write_files(folder / "files")
    with pytest.MonkeyPatch.context() as patch, every_kind(folder) as boards:
        patch.chdir(folder / "files")
        plan = {boards.mac(n): commands(n) for n in range(len(KINDS))}
        Path("plan.json").write_text(json.dumps(plan))
        before = [boards.true_bits(n) for n in range(len(KINDS))]
        names = sorted({kind.chip.name for kind in KINDS})
        tables = [f"--extend-efuse-table={name}={name}.csv" for name in names]
        common = ["--ports", *boards.ports, "--json", *tables]
        run = parburn(
            *common, "--do-not-confirm", "--scripts", "burn.py", "--configfiles", "plan.json",
            "--same", "UNIQUE_ID", state=folder / "ledger",
        )  # fmt: skip
        assert run.words == ["pass"] * len(KINDS), [one["error"] for one in run.results]
        show = ("--show-sensitive-info", "--commands", "summary --format json")
        shown = parburn(*common, *show, state=folder / "ledger")
        assert shown.words == ["pass"] * len(KINDS), [one["error"] for one in shown.results]
        said = dict.fromkeys(boards.ports, "")
        for event in shown.events:
            if event["event"] == "output":
                said[event["port"]] += event["text"]
        theirs = on_all_boards(boards, folder / "files", [("summary", "--format", "json")] * len(KINDS))
        yield Burned(
            before,
            [boards.true_bits(n) for n in range(len(KINDS))],
            [boards.visible_bits(n) for n in range(len(KINDS))],
            virtual(folder / "files", [dict(enumerate(bits)) for bits in before]),
            [json.loads(said[port]) for port in boards.ports],
            [json.loads(text[text.index("{") :]) for text in theirs],
        )


@pytest.mark.parametrize("board", range(len(KINDS)), ids=NAMES)
def test_espefuse_reads_what_parburn_burned(burned: Burned, board: int) -> None:
    ours, theirs = burned.ours[board], burned.theirs[board]
    assert ours.keys() == theirs.keys()
    different = [
        (name, entry, ours[name][entry], theirs[name][entry])
        for name in ours
        for entry in SUMMARY_KEYS
        if ours[name][entry] != theirs[name][entry]
    ]
    assert not different


@pytest.mark.parametrize("board", range(len(KINDS)), ids=NAMES)
def test_espefuse_shows_what_was_asked_for(burned: Burned, board: int) -> None:
    kind, shown = KINDS[board], burned.theirs[board]
    assert str(shown["CUSTOM_MAC"]["value"]).startswith(custom_mac(board))
    assert int(shown["UNIQUE_ID"]["raw_value"], 16) == UNIQUE_ID
    name, value = setting(kind)
    assert int(str(shown[name]["raw_value"]), 16) == value
    assert burned.true[board][user_block(kind).index] >> free_bit(kind) & 1
    for key in keys_of(kind):
        _assert_key(kind, key, shown, burned.true[board])


def _assert_key(kind: Kind, key: Key, shown: Summary, bits: Sequence[int]) -> None:
    purpose = kind.purpose(key.use or key.block)
    assert purpose is not None
    halves = purpose.split_into or (purpose.name,)
    blocks = kind.chip.block_by_name[key.block].index
    for at, half in enumerate(halves):
        real = kind.purpose(half)
        assert real is not None
        block = kind.chip.blocks[blocks + at]
        target = place(kind, real.target) if real.target else next(
            one for one in kind.chip.fields if one.block == block.index and one.codec is Codec.KEYBLOCK
        )  # fmt: skip
        content = key.content[32 * at : 32 * (at + 1)]
        content = content[::-1] if real.reversed else content
        assert target.start is not None
        there = bits[block.index] >> target.start & (1 << target.bits) - 1
        assert there == int.from_bytes(content, "little")
        row = shown[target.name]
        assert (row["readable"], row["writeable"]) == (not key.secret, False)
        assert (content.hex(" ") in str(row["value"])) is not key.secret
        if block.key_purpose:
            assert shown[block.key_purpose]["value"] == half
            assert not shown[block.key_purpose]["writeable"]


@pytest.mark.parametrize("board", range(len(KINDS)), ids=NAMES)
def test_parburn_burned_the_bits_of_the_virtual_chip(burned: Burned, board: int) -> None:
    assert burned.visible[board] == burned.virtual[board].blocks
    assert burned.true[board] != burned.before[board]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[int, int], ChipState]]:
    """espefuse 5.6 burns a fresh board of every kind over its port; what it shows, and the virtual chip's."""
    folder = tmp_path_factory.mktemp("theirs")
    write_files(folder / "files")
    with every_kind(folder, seed=7) as boards:
        starts = [dict(enumerate(boards.true_bits(n))) for n in range(len(KINDS))]
        words = [[word for line in commands(n) for word in line.split()] for n in range(len(KINDS))]
        on_all_boards(boards, folder / "files", words)
        visible = [boards.visible_bits(n) for n in range(len(KINDS))]
    return list(zip(visible, virtual(folder / "files", starts), strict=True))


@pytest.mark.parametrize("board", range(len(KINDS)), ids=NAMES)
def test_espefuse_burns_a_board_as_its_virtual_chip(
    theirs: list[tuple[dict[int, int], ChipState]], board: int
) -> None:
    visible, wanted = theirs[board]
    assert visible == wanted.blocks


def test_all_kinds_are_there() -> None:
    chips = [kind.chip.name for kind in KINDS]
    assert len(set(chips)) >= 14
    twice = {name for name in chips if chips.count(name) > 1}
    assert {"esp32h2", "esp32p4"} <= twice
