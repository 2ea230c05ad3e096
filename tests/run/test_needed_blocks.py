"""A burn of any one block needs no other that was not read: on every chip, with nothing named beforehand."""

from __future__ import annotations

from pathlib import Path

from tests.command import parburn
from tests.every_kind import KINDS, every_kind

# The name is put together, so that no block can be guessed from the script's words.
SCRIPT = "espefuse(esp, efuses, args, 'burn_bit BLOCK' + str({block}) + ' 41')\n"


def test_each_block_alone(tmp_path: Path) -> None:
    burned = 0
    with every_kind(tmp_path / "rigs") as boards:
        for block in range(max(len(kind.chip.blocks) for kind in KINDS)):
            at = [n for n, kind in enumerate(KINDS) if block < len(kind.chip.blocks)]
            script = tmp_path / f"{block}.py"
            script.write_text(SCRIPT.format(block=block))
            outcome = parburn(
                "--ports", *(boards.ports[n] for n in at), "--scripts", script, "--do-not-confirm", "--json",
                state=tmp_path / "state",
            )  # fmt: skip
            errors = {result["error"] for result in outcome.results}
            assert not [error for error in errors if "inside parburn" in error], errors
            for n, word in zip(at, outcome.words, strict=True):
                kind = KINDS[n]
                if any(one.block == block for one in kind.chip.identity_fields):
                    continue  # refused, or beside the MAC: no matter here
                assert word == "pass", (kind.name, block, errors)
                assert boards.true_bits(n)[block] >> 41 & 1
                burned += 1
    assert burned >= 10 * len(KINDS) - 50
