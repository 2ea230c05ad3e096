"""What is to be done after a refusal: the remedy of that case, and never an option that skips the check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import parburn
from parburn.efuse import hints
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import plan_burns
from parburn.efuse.staged import StagedBurns
from parburn.efuse.staging import stage_bits, stage_block_data, stage_custom_mac, stage_field
from parburn.errors import EfuseError
from tests.command import parburn as run
from tests.efuse.images import blank
from tests.rig import start_rig

ROOT = Path(parburn.__file__).parent
OFFER = "force-write-always"


def constants(tree: ast.AST) -> list[str]:
    """All texts of a module but its docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def test_no_text_of_parburn_offers_to_write_always() -> None:
    for path in ROOT.rglob("*.py"):
        said = [text for text in constants(ast.parse(path.read_text())) if OFFER in text]
        assert said in ([], ["--force-write-always"]), path  # the option's own name, where it is taken


def refusals() -> list[tuple[str, str, str]]:
    """Chip, fields that are burned, and what is asked for then."""
    return [
        ("esp32s3", "BLOCK_USR_DATA=1", "bit BLOCK_USR_DATA 5"),
        ("esp32s3", "WR_DIS=8388608,BLOCK_KEY0=5", "bit BLOCK_KEY0 1"),
        ("esp32s3", "WR_DIS=4194304", "bit BLOCK_USR_DATA 5"),
        ("esp32s3", "RD_DIS=1", "bit BLOCK_KEY0 5"),
        ("esp32s3", "BLOCK_USR_DATA=1", "data BLOCK_USR_DATA"),
        ("esp32s3", "SPI_BOOT_CRYPT_CNT=3", "field SPI_BOOT_CRYPT_CNT 1"),
        ("esp32s3", "WR_DIS=16", "field SPI_BOOT_CRYPT_CNT 1"),
        ("esp32s3", "", "bit MAC_SPI_8M_0 1"),
        ("esp32", "CODING_SCHEME=1,BLOCK3=1", "bit BLOCK3 5"),
        ("esp32", "RD_DIS=8", "bit BLOCK3 5"),
        ("esp32c3", "CUSTOM_MAC=1108152157446", "mac"),
    ]


def ask(image: EfuseImage, asked: str) -> None:
    staged = StagedBurns()
    what, *rest = asked.split()
    if what == "bit":
        stage_bits(image, staged, image.chip.block_by_name[rest[0]], [int(rest[1])], force=False)
    elif what == "data":
        stage_block_data(image, staged, image.chip.block_by_name[rest[0]], b"\2" * 32, force=False)
    elif what == "mac":
        stage_custom_mac(image, staged, bytes.fromhex("020000000001"), force=False)
    else:
        stage_field(image, staged, image.field_named(rest[0]), int(rest[1]))
    plan_burns(image, staged)


@pytest.mark.parametrize(("chip", "burned", "asked"), refusals())
def test_each_refusal_says_what_to_do(chip: str, burned: str, asked: str) -> None:
    fields = {name: int(value) for name, _, value in (one.partition("=") for one in burned.split(",") if one)}
    with pytest.raises(EfuseError) as refused:
        ask(blank(chip, **fields), asked)
    assert len(refused.value.hint) > 30
    assert "force" not in refused.value.hint


def test_the_second_write_of_a_block_is_told_with_its_own_remedy(tmp_path: Path) -> None:
    with start_rig("esp32c6", 1, tmp_path) as rig:
        words = ["--ports", *rig.ports, "--do-not-confirm", "--commands"]
        assert run(*words, "burn_bit BLOCK3 1", state=tmp_path).exit == 0
        refused = run(*words, "burn_bit BLOCK3 4", state=tmp_path)
        assert refused.exit == 3
        said = refused.stdout + refused.stderr
        assert "allows no second write" in said
        assert hints.ONE_BURN in " ".join(said.split())
        assert "force" not in said
