"""What a chip holds beyond what is wanted is refused, and no file that is no key: through the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import Outcome, parburn
from tests.rig import Rig, start_rig

TABLE = "SERIAL, EFUSE_BLK3, 0, 32, [] Number of this unit\n"
KEY = bytes(range(1, 33))
FILES = {
    "ones.bin": b"\xff" * 32,
    "zeros.bin": bytes(32),
    "key.bin": KEY,
    "short.bin": KEY[:31],
    "three.bin": b"\3" + bytes(31),
    "one.bin": b"\1" + bytes(31),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ours.csv").write_text(TABLE)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def run(rig: Rig, folder: Path, *work: object) -> Outcome:
    """One run on a board that no ledger knows."""
    state = folder / f"ledger{len(list(folder.glob('ledger*')))}"
    state.mkdir()
    return parburn(
        "--ports", *rig.ports, "--json", "--do-not-confirm", "--extend-efuse-table", "ours.csv", *work,
        state=state,
    )  # fmt: skip


def typed(rig: Rig, folder: Path, text: str) -> Outcome:
    """`--commands`."""
    return run(rig, folder, "--commands", text)


def scripted(rig: Rig, folder: Path, text: str) -> Outcome:
    """`--scripts`."""
    (folder / "script.py").write_text(text)
    return run(rig, folder, "--scripts", "script.py")


def refused(rig: Rig, done: Outcome, why: str, programs: int = 0) -> None:
    """Nothing was burned by the run, which says why and offers no force."""
    assert done.words[0] in ("failed", "refused"), done.results
    assert done.exit != 0
    error = done.results[0]["error"]
    assert why in error, error
    assert "force-write-always" not in str(done.results) + done.stderr
    assert rig.programs(0) == programs


def words(*parts: str) -> list[str]:
    """The same request as commands, and as a script of dialect 4 that burns by itself."""
    lines = "".join(f"espefuse(esp, efuses, args, {part!r})\n" for part in parts)
    return ["; ".join(parts), lines + "efuses.burn_all()\n"]


def asked(rig: Rig, folder: Path, text: str) -> Outcome:
    """A request in any of these forms."""
    return scripted(rig, folder, text) if "espefuse" in text else typed(rig, folder, text)


# chip, what the board comes with, the request in all its forms, what the refusal says
BEYOND = [
    ("esp32", ["SERIAL=3"], [
        *words("burn_efuse SERIAL 1"),
        "espefuse.burn_efuse({'SERIAL': 1})\n",
        "efuses['SERIAL'].save(1)  # espefuse\n",
        "efuses['SERIAL'].burn(1)  # espefuse\n",
    ], "carries SERIAL 3, and the script asks for 1"),
    ("esp32", ["SERIAL=3"], [
        *words("burn_block_data BLOCK3 one.bin"),
        "espefuse.burn_block_data(['BLOCK3'], ['one.bin'])\n",
        "efuses.blocks[3].save(open('one.bin', 'rb').read())  # espefuse\n",
    ], "other data burned in byte 0"),
    ("esp32c3", ["SERIAL=3"], words("burn_efuse SERIAL 1"), "carries SERIAL 3, and the script asks for 1"),
    ("esp32c3", ["SERIAL=3"], words("burn_block_data BLOCK3 one.bin"), "other data burned"),
    ("esp32c3", ["SPI_BOOT_CRYPT_CNT=3"], words("burn_efuse SPI_BOOT_CRYPT_CNT 1"), "holds"),
    ("esp32s3", ["SOFT_DIS_JTAG=3"], words("burn_efuse SOFT_DIS_JTAG 1"), "holds 3, and 1 was asked for"),
    ("esp32c3", ["KEY_PURPOSE_0=9"], [
        *words("burn_key BLOCK_KEY0 key.bin HMAC_UP"),
        "espefuse.burn_key(['BLOCK_KEY0'], ['key.bin'], ['HMAC_UP'])\n",
    ], "KEY_PURPOSE_0 has bits burned"),
    ("esp32", ["BLOCK1=1"], words("burn_key flash_encryption key.bin"), "not this key"),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "settings", "requests", "why"), BEYOND)
def test_what_is_burned_beyond_the_wanted_is_refused(
    folder: Path, chip: str, settings: list[str], requests: list[str], why: str
) -> None:
    with start_rig(chip, 1, folder, settings=[one for one in settings if "SERIAL" not in one]) as rig:
        made = 0
        if any("SERIAL" in one for one in settings):
            assert typed(rig, folder, "burn_efuse SERIAL 3").words == ["pass"]
            made = rig.programs(0)
        before = rig.state(0)["blocks"]
        for request in requests:
            refused(rig, asked(rig, folder, request), why, made)
        assert rig.state(0)["blocks"] == before


# what is staged first, what contradicts it, what the refusal says
MIXED = [
    ("burn_block_data BLOCK_KEY0 ones.bin", "burn_key BLOCK_KEY0 key.bin XTS_AES_128_KEY", "bits staged"),
    ("burn_key BLOCK_KEY0 key.bin XTS_AES_128_KEY", "burn_block_data BLOCK_KEY0 ones.bin", "other data"),
    ("burn_efuse KEY_PURPOSE_0 9", "burn_key BLOCK_KEY0 key.bin HMAC_UP", "KEY_PURPOSE_0 has bits staged"),
    ("burn_efuse SERIAL 1", "burn_bit BLOCK3 1", "SERIAL would not hold"),
    ("burn_efuse SERIAL 3", "burn_efuse SERIAL 1", "SERIAL has bits staged"),
]


@pytest.mark.parametrize(("first", "second", "why"), MIXED)
def test_two_commands_that_contradict_each_other_burn_nothing(
    folder: Path, first: str, second: str, why: str
) -> None:
    with start_rig("esp32c3", 1, folder) as rig:
        for request in words(first, second):
            refused(rig, asked(rig, folder, request), why)


def test_a_key_is_not_locked_over_data_of_an_earlier_run(folder: Path) -> None:
    with start_rig("esp32c3", 1, folder) as rig:
        assert typed(rig, folder, "burn_block_data BLOCK_KEY0 ones.bin").words == ["pass"]
        made, block0 = rig.programs(0), rig.bits(0, 0)
        for request in words("burn_key BLOCK_KEY0 key.bin XTS_AES_128_KEY"):
            refused(rig, asked(rig, folder, request), "not this key", made)
        assert rig.bits(0, 0) == block0  # neither purpose nor lock


@pytest.mark.parametrize("settings", [[], ["coding=3/4"]])
def test_a_key_of_a_classic_chip_is_not_locked_over_data(folder: Path, settings: list[str]) -> None:
    size = 24 if settings else 32
    for name in ("ones.bin", "key.bin"):
        (folder / name).write_bytes(FILES[name][:size])
    with start_rig("esp32", 1, folder, settings=settings) as rig:
        assert typed(rig, folder, "burn_block_data BLOCK1 ones.bin").words == ["pass"]
        made, block0 = rig.programs(0), rig.bits(0, 0)
        for request in words("burn_key flash_encryption key.bin"):
            refused(rig, asked(rig, folder, request), "not this key", made)
        assert rig.bits(0, 0) == block0


def test_what_is_equal_is_there_and_nothing_is_burned(folder: Path) -> None:
    (folder / "job.py").write_text(
        "espefuse(esp, efuses, args, 'burn_efuse SERIAL 3 SPI_BOOT_CRYPT_CNT 7')\n"
        "espefuse(esp, efuses, args, 'burn_block_data BLOCK3 three.bin')\n"
        "espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 key.bin HMAC_UP --no-read-protect')\n"
        "espefuse(esp, efuses, args, 'burn_bit BLOCK0 82')\n"
    )
    with start_rig("esp32c3", 1, folder) as rig:
        for _ in range(2):
            done = run(rig, folder, "--scripts", "job.py")
            assert done.words == ["pass"], done.results
            made = rig.programs(0)
        assert made == 4  # by the first run: BLOCK_KEY0, BLOCK3, BLOCK0 and its locks
        assert rig.bits(0, 3) == 3


@pytest.mark.parametrize("name", ["zeros.bin", "ones.bin", "short.bin"])
def test_a_file_that_is_no_key_is_burned_by_force_only(folder: Path, name: str) -> None:
    with start_rig("esp32c3", 1, folder) as rig:
        for request in (
            *words(f"burn_key BLOCK_KEY0 {name} XTS_AES_128_KEY"),
            f"espefuse.burn_key(['BLOCK_KEY0'], ['{name}'], ['XTS_AES_128_KEY'])\n",
        ):
            done = asked(rig, folder, request)
            refused(rig, done, "31 bytes" if "short" in name else "are equal")
        done = typed(rig, folder, f"burn_key --force BLOCK_KEY0 {name} XTS_AES_128_KEY")
        assert done.words == ["pass"], done.results
        assert rig.bits(0, 4) == int.from_bytes(FILES[name].ljust(32, b"\0"), "big")


def test_force_of_dialect_5_takes_such_a_key_too(folder: Path) -> None:
    with start_rig("esp32c3", 1, folder) as rig:
        done = scripted(
            rig, folder, "espefuse.burn_key(['BLOCK_KEY0'], ['ones.bin'], ['HMAC_UP'], force=True)\n"
        )
        assert done.words == ["pass"], done.results
        assert rig.bits(0, 4) == (1 << 256) - 1
