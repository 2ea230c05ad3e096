"""What the fuzzer tries: each subject takes a generator of random numbers, makes something up, and uses it.

A subject returns nothing. What it raises is a finding, but for the refusals that it allows itself.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from parburn.chips.registry import chip_named
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.cli.main import main
from parburn.config.records import load_config_files
from parburn.errors import ChipDataError, InternalError, LedgerError, ParburnError, ScriptFailed, UsageError
from parburn.ledger.base import Attempt, State
from parburn.ledger.file_location import witness_path
from parburn.script.commands.command_line import with_commands
from parburn.script.commands.text import VERBS
from parburn.script.commands.token import parse_token
from parburn.script.compiled import CompiledScripts, compile_scripts
from parburn.script.session import ScriptOptions
from parburn.sim.token_board import product_of, read_token
from tests.fuzz.mutations import MARKS, spoiled
from tests.ledger.ledgers import batch, burn, chip, claim_of, opened, run
from tests.rig import ROOT
from tests.script.board import Board, make_board, run_async

FORMS = ("row", "line", "item", "section", "column:1", "column:serial", "none")
CHIPS = ("esp32", "esp32c3", "esp32s3", "esp32c6", "esp32p4", "esp32c2")
EXAMPLES = sorted((ROOT / "examples").iterdir())
TABLES = (
    *(path.read_text() for path in EXAMPLES if path.suffix == ".csv"),
    "# name, block, bit_start, bit_count, comment\nA, EFUSE_BLK3, 0, 64, [UID SERIAL] x\nA.B, 3, 0, 8, y\n"
    'A.C, 3, 0, 8, alias\n , 3, 80, 4, more\n"D","3",96,MAX_BLK_LEN,"[E] z, ""q"""\n',
)
CONFIGS = (
    *(path.read_text() for path in EXAMPLES if path.suffix in (".json", ".csv")),
    "[1]\nserial = 7\n[2]\nserial = 8\n",
    '{"product": 7, "1": {"mac": "02:00:00:00:00:01"}}',
    "a\nb\nc\n",
    "[1, 2, 3]",
)
SCRIPT = """\
file = args.configfiles[0]
entry = json.load(file)[str(args.index)] if file.name.endswith(".json") else file.read()
espefuse(esp, efuses, args, "burn_efuse DIS_PAD_JTAG 1")
"""
TEXTS = (
    "burn_efuse A 5 A_B 1; summary --format json",
    "burn_custom_mac 02:00:00:00:00:01; get_custom_mac",
    "burn_key BLOCK_KEY0 key.bin XTS_AES_128_KEY BLOCK_KEY1 key.bin USER --no-read-protect; summary",
    "burn_bit BLOCK3 1 2 200; dump; check_error --recovery",
    "burn_block_data --offset 4 BLOCK3 key.bin",
    "read_protect_efuse BLOCK_KEY0; write_protect_efuse MAC WR_DIS RD_DIS",
    "set_flash_voltage 1.8V; adc_info",
    "burn_key_digest secure_boot_v2 key.bin",
    "dump --format token; summary A --format value_only",
    "execute_scripts s.py --index 2; burn_efuse SPI_BOOT_CRYPT_CNT 3",
    "burn_key flash_encryption key.bin",
    "dump --file_name out.bin; summary --file out.txt --active",
)


class World:
    """A folder with good files, from which each case makes bad ones. The working folder while it is open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger, self.witness = _a_ledger(folder / "made")
        (folder / "s.py").write_text(SCRIPT)
        (folder / "key.bin").write_bytes(bytes(range(1, 33)))
        (folder / "ids.json").write_text('{"1": {"mac": "02:00:00:00:00:01"}}')
        self.tokens = _tokens()
        self.left = {one.name for one in folder.iterdir()} | {"ttyUSB0"}

    def tidy(self) -> None:
        """The folder as it was before the case."""
        (self.folder / "ttyUSB0").touch()
        for one in self.folder.iterdir():
            if one.name not in self.left:
                shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


def _a_ledger(path: Path) -> tuple[bytes, bytes]:
    """A ledger with units in most states, and its witness."""
    path.mkdir()
    place = path / "ledger.sqlite3"

    async def work() -> None:
        async with opened(place, batch({n: f"r{n}" for n in range(1, 9)}, name="b")) as ledger:
            await burn(await claim_of(ledger, chip(1)), values={"CUSTOM_MAC": "m"})
            claim = await claim_of(ledger, chip(2))
            await claim.planned("plan", {"SERIAL": "n"})
            await claim.burn_attempted(Attempt("plan", '{"blocks":{"3":"5"}}', ("KEY0", "BLOCK0")))
            await claim.step_done("KEY0", State.VERIFIED)
            await claim.incomplete("unplugged")
            claim = await claim_of(ledger, chip(3))
            await claim.planned("plan", {})
            await claim.burn_attempted(Attempt("plan", "{}", ("BLOCK0",)))
            await claim.quarantined("a bit too many")
            await (await claim_of(ledger, chip(4))).failed_clean("script", release=True, script_failed=True)
            claim = await claim_of(ledger, chip(5))
            await claim.planned("plan", {})
            await claim.passed("job", '{"blocks":{"3":"7"}}', inputs=(("/x", "aa"),))
        async with opened(place, batch({n: f"r{n}" for n in range(1, 9)}, name="b")) as ledger:
            await (await claim_of(ledger, chip(5))).quarantined("it lacks bits")

    run(work())
    return place.read_bytes(), witness_path(place).read_bytes()


def _tokens() -> tuple[str, ...]:
    found = []
    for name in CHIPS:
        ran = _on_a_board(make_board(name), "dump --format token", CompiledScripts())
        found += [word for word in ran.split() if word.startswith("EFS")]
    assert len(found) == len(CHIPS)
    return tuple(found)


# The command itself -----------------------------------------------------------------------------------


def call(*words: str) -> None:
    """The command in this process: a documented code, and a sentence where it is not 0."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*words])
    look_at(code, out.getvalue(), err.getvalue(), words)


def look_at(code: int, out: str, err: str, words: Sequence[str]) -> None:
    """Raise AssertionError where an operator would see a defect."""
    for text in ("inside parburn", "Traceback", "Exception ignored"):
        assert text not in err + out, f"{text}: {words}\n{err}{out[-2000:]}"
    assert code in (0, 1, 2, 3, 4, 5, 130), f"exit {code}: {words}\n{err}"
    assert code == 0 or "parburn: " in err or "what happened" in out + err, (
        f"no sentence: {words}\n{out}{err}"
    )
    assert "\x1b[2J" not in err, f"a terminal obeys this: {words}\n{err!r}"


JOB = ("--port", "ttyUSB0", "--scripts", "s.py", "--do-not-confirm", "--new-ledger", "--ledger", "run.ledger")


def run_words(*more: str) -> tuple[str, ...]:
    return (*JOB, *more)


# Subjects ---------------------------------------------------------------------------------------------


def tables(world: World, rng: random.Random) -> None:
    """A table joins a chip and its fields are burned and shown, or file and line are named."""
    content = spoiled(rng.choice(TABLES), rng, others=TABLES)
    Path("t.csv").write_bytes(content)
    with contextlib.suppress(UnicodeDecodeError, ChipDataError):
        rows = parse_custom_table(content.decode("utf-8-sig"), file="t.csv")
        board = make_board(rng.choice(CHIPS))
        board.chip = extend_chip(board.chip, rows)
        if rows:
            row = rng.choice(rows)
            _on_a_board(
                board,
                f"burn_efuse {row.name} {rng.choice((1, 0, 5, 'x'))}; summary {row.name}",
                CompiledScripts(),
            )
    if rng.randrange(8) == 0:
        option = rng.choice(("", f"{rng.choice(CHIPS)}=", "esp9="))
        call(*run_words("--configfiles", "ids.json", "--extend-efuse-table", f"{option}t.csv"))


def configs(world: World, rng: random.Random) -> None:
    """Config files give records and a script's data, or are refused."""
    name = rng.choice(("c.json", "c.csv", "c.txt", "c.ini"))
    Path(name).write_bytes(spoiled(rng.choice(CONFIGS), rng, others=CONFIGS))
    form = rng.choice(FORMS)
    try:
        files = load_config_files([Path(name)], (f"{name}={form}",) if rng.randrange(2) else ())
        for number in (1, 2, 2**31):
            files.entries(number)
            files.old_entries(number)
            files.of_job(number)
        scripts = compile_scripts([Path("s.py")])
        options = ScriptOptions(config_files=files, timeout_s=10.0)
        anyio.run(lambda: run_async(make_board(rng.choice(CHIPS)), scripts, options))
    except UsageError as refused:
        if not str(refused):
            raise
    if rng.randrange(8) == 0:
        more = ("--records", f"{name}={form}") if rng.randrange(2) else ()
        call(*run_words("--configfiles", name, *more))


def tokens(world: World, rng: random.Random) -> None:
    """A token is read and makes a board, or is refused."""
    text = spoiled(rng.choice(world.tokens), rng, others=world.tokens).decode(errors="replace")
    for use in (lambda: parse_token(text, chip_named), lambda: product_of(
        read_token(text), copy=rng.randrange(2), settings={}, rng=random.Random(1)
    )):  # fmt: skip
        with contextlib.suppress(ParburnError):
            use()


def commands(world: World, rng: random.Random) -> None:
    """Typed commands are refused, or do what they say on a board in memory."""
    text = spoiled("; ".join(rng.sample(TEXTS, rng.randint(1, 3))), rng, others=TEXTS).decode(
        errors="replace"
    )
    if rng.randrange(3) == 0:
        verb = rng.choice((*VERBS, "burn_key", "burn_efuse"))
        text = " ".join((verb, *(rng.choice((*MARKS, *_names(rng))) for _ in range(rng.randrange(6)))))
    board = make_board(rng.choice(CHIPS))
    board.blocks = {
        n: rng.getrandbits(32) << rng.randrange(200) if rng.randrange(3) == 0 else 0 for n in board.blocks
    }
    board.blocks = {n: bits & board.chip.blocks[n].mask for n, bits in board.blocks.items()}
    with contextlib.suppress(ParburnError):
        _on_a_board(board, text, CompiledScripts())
    if rng.randrange(8) == 0:
        call(*run_words("--configfiles", "ids.json", "--commands", text))


def _names(rng: random.Random) -> list[str]:
    made = chip_named(rng.choice(CHIPS))
    return [rng.choice(made.fields).name, rng.choice(made.blocks).name, "key.bin", "--force", "--offset"]


def _on_a_board(board: Board, text: str, scripts: CompiledScripts) -> str:
    """Run typed commands; what is raised in them and is no refusal of ours is raised here."""
    compiled = with_commands(scripts, text)
    try:
        ran = anyio.run(lambda: run_async(board, compiled, ScriptOptions(timeout_s=10.0)))
    except ParburnError:
        return ""  # refused by a plan
    error = ran.outcome.error
    assert not isinstance(error, InternalError), repr(error)
    if isinstance(error, ScriptFailed) and not compiled.nested:  # what a nested script raises is its own
        assert error.__cause__ is not None, f"{text!r}\n{error}\n{error.traceback_text}"
    return ran.output


def ledgers(world: World, rng: random.Random) -> None:
    """A spoiled ledger and witness are used by every command, or refused."""
    _spoil_ledger(world, rng, Path("bad"))
    for words in rng.sample(LEDGER_COMMANDS, 4):
        call("ledger", *words, "--ledger", "bad")
    with contextlib.suppress(LedgerError):
        run(_use(Path("bad").resolve(), rng))
    if rng.randrange(4) == 0:
        call(
            "--port",
            "ttyUSB0",
            "--scripts",
            "s.py",
            "--configfiles",
            "ids.json",
            "--do-not-confirm",
            "--ledger",
            "bad",
        )


LEDGER_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("show",), ("verify",), ("export",), ("export", "--format", "csv"), ("adopt", "--why", "x"),
    ("release", "aa:bb:cc:00:00:03", "--why", "x"), ("scrap", "aa:bb:cc:00:00:01", "--why", "x"),
    ("release", "--batch", "b", "--all", "--why", "x"), ("export", "-o", "out.json"), ("init", "--why", "x"),
    ("import-used", "bad", "--batch", "b", "--why", "x"), ("history", "1"), ("history", "m"),
    ("show", "--value", "m", "--state", "pass", "--since", "1h"),
)  # fmt: skip


async def _use(path: Path, rng: random.Random) -> None:
    spec = batch({n: f"r{n}" for n in range(1, 9)}, name="b")
    async with opened(path, spec) as ledger:
        claim = await claim_of(ledger, chip(rng.randint(1, 9)))
        await claim.planned("plan", {"CUSTOM_MAC": rng.choice("mno")})
        await claim.burn_attempted(Attempt("plan", "{}", ("BLOCK0",)))
        await claim.step_done("BLOCK0", State.VERIFIED)
        await claim.passed("job", '{"blocks":{}}')


def _spoil_ledger(world: World, rng: random.Random, path: Path) -> None:
    ledger, witness = bytearray(world.ledger), world.witness
    path.write_bytes(ledger)
    how = rng.randrange(5)
    if how == 0:
        for _ in range(rng.choice((1, 4, 100))):
            ledger[rng.randrange(len(ledger) if rng.randrange(3) else 100)] = rng.randrange(256)
        path.write_bytes(ledger[: rng.randrange(len(ledger)) if rng.randrange(3) == 0 else None])
    elif how < 4:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
            for _ in range(rng.choice((1, 1, 3))):
                with contextlib.suppress(sqlite3.Error):
                    connection.execute(*_statement(connection, rng))
            connection.commit()
    if rng.randrange(4):
        spoil = rng.randrange(4) == 0
        witness_path(path).write_bytes(spoiled(witness.decode(), rng) if spoil else witness)
    path.chmod(0o600)


def _statement(connection: sqlite3.Connection, rng: random.Random) -> tuple[str, tuple[object, ...]]:
    """A change by hand: a value of another type or size, rows that are gone, tables that are gone."""
    for trigger in ("history_stays", "history_is_kept"):
        connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    table = rng.choice(names)
    column = rng.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
    value = rng.choice(
        (
            None,
            0,
            -1,
            1,
            2**62,
            1.5,
            b"\xff\x00",
            "",
            "x",
            "pass",
            "{}",
            "[]",
            '{"blocks":{"99":"1"}}',
            *MARKS[:20],
        )
    )
    other = f"(SELECT {rng.choice(('min', 'max'))}({column}) FROM {table})"
    return rng.choice(
        (
            (f"UPDATE {table} SET {column} = ? WHERE rowid = 1", (value,)),
            (f"UPDATE {table} SET {column} = ?", (value,)),
            (f"UPDATE {table} SET {column} = {other}", ()),
            (f"DELETE FROM {table}", ()),
            (f"DELETE FROM {table} WHERE {column} = {other}", ()),
            (f"DROP TABLE {table}", ()),
            (f"ALTER TABLE {table} RENAME COLUMN {column} TO other", ()),
            (f"ALTER TABLE {table} ADD COLUMN more", ()),
            (f"PRAGMA user_version = {rng.choice((0, -1, 1, 3, 6, 7, 99))}", ()),
            (f"PRAGMA application_id = {rng.randrange(9)}", ()),
        )
    )


def imports(world: World, rng: random.Random) -> None:
    """`ledger import-used` takes a file over, or names its line."""
    if not Path("good").exists():
        call("ledger", "init", "--ledger", "good", "--why", "x")
    source = Path("exported")
    kind = rng.randrange(4)
    if kind == 0:
        content = spoiled("# used\n1-3\n5\n7, ESP32-C3, AA:BB:CC:00:00:07\n", rng)
    else:
        whole = Path("whole")
        whole.write_bytes(world.ledger)
        witness_path(whole).write_bytes(world.witness)
        call("ledger", "export", "--ledger", "whole", "--format", ("json", "csv")[kind % 2], "-o", "exported")
        text = source.read_text()
        content = spoiled(text, rng)
        if kind == 3:
            with contextlib.suppress(ValueError):
                content = json.dumps(_other_values(json.loads(text), rng)).encode()
    source.write_bytes(content)
    batch_of = ("--batch", "b") if rng.randrange(2) else ()
    call("ledger", "import-used", "exported", "--ledger", "good", "--why", "x", *batch_of)
    call("ledger", "verify", "--ledger", "good")


def _other_values(value: Any, rng: random.Random) -> Any:
    """One value in a tree put in the place of another, or something else."""
    places: list[tuple[Any, Any]] = []

    def look(one: Any) -> None:
        for key, inner in one.items() if isinstance(one, dict) else enumerate(one):
            places.append((one, key))
            if isinstance(inner, dict | list):
                look(inner)

    look(value)
    for _ in range(rng.choice((1, 1, 3))):
        container, key = rng.choice(places)
        other, at = rng.choice(places)
        with contextlib.suppress(KeyError, IndexError):  # of a part that was taken out before
            container[key] = copy.deepcopy(rng.choice((None, [], {}, "", -1, 2**70, 1.5, True, other[at])))
    return value


def processes(world: World, rng: random.Random) -> None:
    """The same in a process of its own: what only its end shows."""
    _spoil_ledger(world, rng, Path("bad"))
    Path("t.csv").write_bytes(spoiled(rng.choice(TABLES), rng, others=TABLES))
    text = spoiled(rng.choice(TEXTS), rng, others=TEXTS).decode(errors="replace").replace("\0", "")
    text = text[:30_000]  # in UTF-8 at most 120 kB: Linux starts no program with a longer word
    words = rng.choice((
        ["ledger", rng.choice(("show", "verify", "export")), "--ledger", "bad"],
        ["report", "--format", rng.choice(("csv", "json")), "--ledger", "bad"],
        [*run_words("--configfiles", "ids.json", "--extend-efuse-table", "t.csv")],
        [*run_words("--configfiles", "ids.json", "--commands", text)],
    ))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "parburn", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    look_at(done.returncode, done.stdout, done.stderr, words)


Subject = Callable[[World, random.Random], None]
SUBJECTS: dict[str, tuple[Subject, int]] = {  # with how often each is tried, in parts
    "tables": (tables, 30),
    "configs": (configs, 20),
    "tokens": (tokens, 20),
    "commands": (commands, 30),
    "ledgers": (ledgers, 10),
    "imports": (imports, 4),
    "processes": (processes, 1),
}
