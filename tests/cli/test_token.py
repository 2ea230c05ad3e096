"""EFSR tokens: against espefuse 5.6, from a board to a line and back to a board, and keys left unsaid."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from parburn.chips.model import Chip, ControllerKind
from parburn.chips.registry import chip_named, chip_names
from parburn.efuse.image import EfuseImage
from parburn.errors import ParburnError
from parburn.hardware.controller import join_words
from parburn.script.commands.token import parse_token, take_token_text, token_text, write_token
from parburn.sim.efuse_controller import EfuseController
from parburn.sim.factory import Product, mac_crc
from parburn.sim.fault import Faults
from parburn.sim.registers import Registers
from parburn.sim.token_board import product_of, read_token
from parburn.sim.workshop import tokens_of
from tests.command import Outcome, parburn
from tests.peers.venvs import PeerMissingError, peer_python, peers_are_off
from tests.rig import start_rig

PEER = Path(__file__).with_name("token_peer.py")
MAC = bytes.fromhex("240ac4001122")
KEY = bytes(range(1, 33))


def ask_peer(orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What espefuse 5.6 answers to these orders."""
    if peers_are_off():
        pytest.skip("PARBURN_NO_PEERS=1")
    try:
        python = peer_python(5)
    except PeerMissingError as error:
        pytest.fail(str(error), pytrace=False)
    done = subprocess.run(
        [python, PEER], input=json.dumps(orders), capture_output=True, text=True, timeout=120, check=False
    )
    assert not done.returncode, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def random_words(chip: Chip, rng: random.Random, *, coding: int = 0) -> list[list[int]]:
    """Words of all blocks: nothing protected, each second block empty or full of bits by chance."""
    blocks = []
    for block in chip.blocks:
        bits = rng.getrandbits(32 * block.words) if rng.random() < 0.7 else 0
        if block.index == 0:
            for name in ("WR_DIS", "RD_DIS", "CODING_SCHEME"):
                for one in chip.field_by_name.get(name, ()):
                    bits &= ~one.mask
            if coding:
                assert chip.scheme_field is not None
                assert chip.scheme_field.start is not None
                bits |= coding << chip.scheme_field.start
        elif coding:
            bits &= (1 << 192) - 1
        blocks.append([bits >> 32 * n & 0xFFFFFFFF for n in range(block.words)])
    return blocks


def image_of(chip: Chip, blocks: Sequence[Sequence[int]]) -> EfuseImage:
    registers = dict.fromkeys(chip.extra_registers, 0)
    return EfuseImage(
        chip, {n: join_words(list(words)) for n, words in enumerate(blocks)}, registers=registers
    )


def register_values(words: list[int]) -> Callable[[tuple[int, ...]], list[int]]:
    """A read of the error registers."""
    return lambda asked: words


# Against the original ---------------------------------------------------------------------------------


def cases() -> list[tuple[str, int]]:
    """All chips, plain; the classic one also in 3/4 coding."""
    names = [(name, 0) for name in chip_names()]
    return names + [
        (name, 1) for name in chip_names() if chip_named(name).controller is ControllerKind.CLASSIC
    ]


@pytest.mark.peer
def test_tokens_are_those_of_the_original_for_the_same_words() -> None:
    rng = random.Random(3)
    orders: list[dict[str, Any]] = []
    for name, coding in cases():
        chip = chip_named(name)
        for errors in ([], errors_of(chip, coding, rng)):
            blocks = with_mac(chip, random_words(chip, rng, coding=coding))
            orders.append({"chip": name, "blocks": blocks, "errors": errors})
    for order, said in zip(orders, ask_peer(orders), strict=True):
        chip = chip_named(order["chip"])
        words = order["errors"] or [0] * len(chip.error_registers)
        ours = write_token(image_of(chip, order["blocks"]), said["revision"], register_values(words))
        assert ours == said["token"], chip.name
        assert parse_token(said["token"], chip_named).blocks == tuple(
            join_words(list(block)) for block in order["blocks"]
        )


@pytest.mark.peer
def test_the_original_reads_our_tokens_as_the_same_words() -> None:
    rng = random.Random(5)
    made = []
    for name in chip_names():
        chip = chip_named(name)
        blocks = with_mac(chip, random_words(chip, rng))
        token = write_token(image_of(chip, blocks), 0, register_values(errors_of(chip, 0, rng)))
        made.append((token, blocks))
    for (token, blocks), read in zip(made, ask_peer([{"token": one} for one, _ in made]), strict=True):
        assert read["blocks"] == blocks, token


@pytest.mark.peer
def test_a_board_from_a_token_of_the_original_shows_its_words_and_errors(tmp_path: Path) -> None:
    rng = random.Random(7)
    orders: list[dict[str, Any]] = []
    for name, coding in cases():
        chip = chip_named(name)
        blocks = random_words(chip, rng, coding=coding)
        orders.append(
            {"chip": name, "blocks": with_mac(chip, blocks), "errors": errors_of(chip, coding, rng)}
        )
    for order, said in zip(orders, ask_peer(orders), strict=True):
        token = read_token(said["token"])
        made, notes = product_of(token, copy=0, settings={}, rng=random.Random(1))
        assert not notes
        shown = shown_by(made)
        for block, words in zip(token.chip.blocks, order["blocks"], strict=True):
            found = [shown[block.read_address + 4 * n] for n in range(block.words)]
            assert found == words, f"{token.chip.name} {block.name}"
        assert [shown[a] for a in token.chip.error_registers] == order["errors"], token.chip.name


def with_mac(chip: Chip, blocks: list[list[int]]) -> list[list[int]]:
    one = chip.field_by_name[chip.mac_field][0]
    assert one.start is not None
    bits = join_words(blocks[one.block]) & ~one.mask | int.from_bytes(MAC, "big") << one.start
    blocks[one.block] = [bits >> 32 * n & 0xFFFFFFFF for n in range(len(blocks[one.block]))]
    return blocks


def errors_of(chip: Chip, coding: int, rng: random.Random) -> list[int]:
    """Error registers as a chip could show them: BLOCK0's copies differ, an RS block has up to six errors."""
    if chip.controller is ControllerKind.CLASSIC:
        return [rng.getrandbits(12) if coding else 0]
    words = dict.fromkeys(chip.error_registers, 0)
    for address in chip.block0_errors[1:]:
        words[address] |= 1 << rng.randrange(32)
    for block in chip.blocks[2:]:
        place = block.errors
        if place is not None:
            words[place.address] |= rng.randrange(7) << place.count_shift
    return [words[address] for address in chip.error_registers]


def shown_by(made: Product) -> dict[int, int]:
    """The registers of a board after reset."""
    registers = Registers(made.chip)
    EfuseController(made.memory, registers, crystal_mhz=made.crystal_mhz, faults=Faults())
    return dict(registers.words)


# From a board to a line and back ------------------------------------------------------------------------


def token_of(name: str, bits: dict[str, int] | None = None, revision: int = 0) -> str:
    """The token of a chip with these fields."""
    chip = chip_named(name, revision=revision)
    blocks = {block.index: 0 for block in chip.blocks}
    for field, value in {chip.mac_field: int.from_bytes(MAC, "big"), **(bits or {})}.items():
        one = chip.field_by_name[field][0]
        assert one.start is not None
        blocks[one.block] |= value << one.start
    image = EfuseImage(chip, blocks, registers=dict.fromkeys(chip.extra_registers, 0))
    return write_token(image, revision, lambda asked: [0] * len(asked))


def read_back(ports: Sequence[str], tmp_path: Path, *words: str) -> Outcome:
    return parburn("--ports", *ports, "--token", *words, state=tmp_path / "state")


def lines(outcome: Outcome) -> dict[str, str]:
    return dict(line.split(" ") for line in outcome.stdout.splitlines())


def test_a_board_gives_back_the_token_it_was_made_of(tmp_path: Path) -> None:
    tokens = [token_of("esp32s3", {"WDT_DELAY_SEL": 2, "BLOCK_USR_DATA": 77}, 2), token_of("esp32c3")]
    with start_rig(tokens=tokens, tmp_path=tmp_path) as rig:
        outcome = read_back(rig.ports, tmp_path)
        assert outcome.exit == 0, outcome.stderr
        assert list(lines(outcome)) == rig.ports
        first, second = lines(outcome).values()
        assert parse_token(first, chip_named).blocks == parse_token(tokens[0], chip_named).blocks
        assert parse_token(second, chip_named).blocks == parse_token(tokens[1], chip_named).blocks
        assert rig.programs(0) == rig.programs(1) == 0
    assert not (tmp_path / "state").exists()  # no ledger was made for it


@pytest.mark.peer
@pytest.mark.parametrize("setting", ["coding=none", "coding=3/4"])
def test_what_we_print_the_original_reads(tmp_path: Path, setting: str) -> None:
    with start_rig("esp32", tmp_path=tmp_path, settings=(setting, "revision=3.1")) as rig:
        token = lines(read_back(rig.ports, tmp_path))[rig.ports[0]]
        assert token.startswith("EFSR:esp32:301:")
        with start_rig(tokens=[token], tmp_path=tmp_path / "again") as other:
            assert lines(read_back(other.ports, tmp_path))[other.ports[0]] == token
    if setting == "coding=none":  # the original cannot read back its own tokens of a chip in 3/4 coding
        assert ask_peer([{"token": token}])[0]["token"].split(":")[3:-1] == token.split(":")[3:-1]


def test_json_has_an_event_for_each_token(tmp_path: Path) -> None:
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        for words in ((), ("--quiet",)):
            outcome = read_back(rig.ports, tmp_path, "--json", *words)
            assert outcome.exit == 0
            found = [event for event in outcome.events if event["event"] == "token"]
            assert [event["port"] for event in found] == rig.ports
            assert all(read_token(event["token"]).chip.name == "esp32c3" for event in found)
            assert [event["left_out"] for event in found] == [[], []]
            assert outcome.events[-1]["event"] == "summary"
            assert [result["index"] for result in outcome.results] == [None, None]


def test_a_port_without_a_board_has_no_token_and_the_others_have(tmp_path: Path) -> None:
    with start_rig(
        "esp32c3:2", tmp_path=tmp_path, faults=["on board 0: the link is silent after 0 bytes"]
    ) as rig:
        outcome = read_back(rig.ports, tmp_path, "--connect-attempts", "1")
    assert outcome.exit == 1
    assert list(lines(outcome)) == rig.ports[1:]


# Keys ---------------------------------------------------------------------------------------------------


def test_a_key_that_can_be_read_is_said_only_when_asked_for(tmp_path: Path) -> None:
    bits = {"BLOCK_KEY0": int.from_bytes(KEY, "little"), "KEY_PURPOSE_0": 4, "BLOCK_KEY1": 5}
    with start_rig(tokens=[token_of("esp32s3", bits)], tmp_path=tmp_path) as rig:
        masked = read_back(rig.ports, tmp_path)
        blocks = parse_token(lines(masked)[rig.ports[0]], chip_named).blocks
        assert (blocks[4], blocks[5]) == (0, 5)
        assert "BLOCK_KEY0" in masked.stderr
        assert "BLOCK_KEY1" not in masked.stderr
        assert "--show-sensitive-info" in masked.stderr
        asked = read_back(rig.ports, tmp_path, "--show-sensitive-info")
        assert parse_token(lines(asked)[rig.ports[0]], chip_named).blocks[4] == bits["BLOCK_KEY0"]
        assert "left out" not in asked.stderr
        event = next(
            event for event in read_back(rig.ports, tmp_path, "--json").events if event["event"] == "token"
        )
        assert event["left_out"] == ["BLOCK_KEY0"]
        assert KEY[:12].hex() not in json.dumps(event)


def test_the_text_of_a_token_tells_what_was_left_out() -> None:
    assert take_token_text(token_text("EFSR:x", ())) == ("EFSR:x", ())
    assert take_token_text(token_text("EFSR:x", ["A", "B"]) + "\n") == ("EFSR:x", ("A", "B"))


# Boards of a rig ----------------------------------------------------------------------------------------


def test_several_boards_of_one_token_differ_by_their_mac_only(tmp_path: Path) -> None:
    token = token_of("esp32", {"MAC_CRC": mac_crc(MAC)})
    with start_rig(count=3, tokens=[token], tmp_path=tmp_path) as rig:
        assert rig.mac(0) == MAC.hex(":")
        assert len({rig.mac(n) for n in range(3)}) == 3
        assert [rig.bits(n, 3) for n in range(3)] == [0, 0, 0]


def test_a_token_without_a_mac_address_gets_one_and_says_so(tmp_path: Path) -> None:
    virtual = "EFSR:esp32s3:000:::::::::::::coM1bA"  # what `espefuse --virt` prints for an empty chip
    with start_rig(tokens=[virtual], tmp_path=tmp_path) as rig:
        assert rig.mac(0) != "00:00:00:00:00:00"
        assert "no MAC address" in rig.errors.read_text()
        assert read_back(rig.ports, tmp_path).exit == 0


@pytest.mark.parametrize(
    ("texts", "count", "words"),
    [
        (["hello"], None, "no eFuse token"),
        (["EFSR:esp32:000::::::17ZYDA"], None, "checksum"),
        (["EFSR:esp32:000::::::"], None, "checksum"),
        ([token_of("esp32c3"), token_of("esp32s3")], 3, "--count says 3"),
    ],
)
def test_tokens_that_a_rig_refuses(texts: list[str], count: int | None, words: str) -> None:
    with pytest.raises(ParburnError, match=words):
        tokens_of(texts, count)


def test_a_token_decides_its_fields_but_not_the_crystal() -> None:
    token = read_token(token_of("esp32"))
    made, _ = product_of(token, copy=0, settings={"crystal": "26"}, rng=random.Random(1))
    assert made.crystal_mhz == 26
    with pytest.raises(ParburnError, match="coding"):
        product_of(token, copy=0, settings={"coding": "3/4"}, rng=random.Random(1))
