"""What scripts read is known by digest; what boards would share through a file is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from parburn.config.records import load_config_files
from parburn.errors import EfuseError
from parburn.script.compiled import compile_scripts
from parburn.script.inputs import Digests, RunInputs
from parburn.script.session import ScriptOptions
from tests.script.board import Ran, make_board, run_async

KEY = bytes(32)


def run(folder: Path, source: str, inputs: RunInputs, *, config: tuple[Path, ...] = ()) -> Ran:

    path = folder / "script.py"
    path.write_text(source)
    files = load_config_files(config)
    options = ScriptOptions(inputs=inputs, config_files=files)
    scripts = compile_scripts([path])
    return anyio.run(lambda: run_async(make_board("esp32c3"), scripts, options))


def names(kept: Digests) -> list[str]:
    """The files that are no modules: those are the whole process's, also from tests before."""
    return [Path(path).name for path, _ in kept if not path.endswith(".py")]


def test_files_that_are_read_are_kept_and_others_not(tmp_path: Path) -> None:
    for name in ("read.txt", "config.txt", "both.txt", "tail.txt"):
        (tmp_path / name).write_text(name)
    config = tmp_path / "config.txt"
    source = f"""
import os, pathlib
folder = pathlib.Path({str(tmp_path)!r})
(folder / 'read.txt').read_text(); (folder / '..' / folder.name / 'read.txt').read_text()
(folder / 'config.txt').read_text(); args.configfiles[0].read()
(folder / 'both.txt').read_text(); (folder / 'both.txt').write_text('')
(folder / 'tail.txt').read_text()
(folder / 'new.txt').write_text(''); os.replace(folder / 'new.txt', folder / 'tail.txt')
for other in (os.devnull, '/proc/self/status', json.decoder.__file__): pathlib.Path(other).open().close()
try: open(folder / 'none.txt')
except FileNotFoundError: pass
"""
    ran = run(tmp_path, source, RunInputs(KEY, (config,)), config=(config,))
    assert ran.error == ""
    assert names(ran.outcome.inputs) == ["none.txt", "read.txt"]


def test_a_change_is_seen_and_the_key_counts(tmp_path: Path) -> None:
    read = tmp_path / "read.txt"
    read.write_text("one")
    kept = run(
        tmp_path, f"import pathlib; pathlib.Path({str(read)!r}).read_text()", RunInputs(KEY)
    ).outcome.inputs
    assert RunInputs(KEY).changed(kept) == ""
    assert RunInputs(b"another ledger's").changed(kept) != ""
    read.write_text("two")
    assert RunInputs(KEY).changed(kept) == str(read.resolve())
    read.unlink()
    assert RunInputs(KEY).changed(kept) == str(read.resolve())


def test_what_is_opened_outside_a_script_is_nobodys(tmp_path: Path) -> None:
    ours = tmp_path / "ours.txt"
    ours.write_text("x")
    inputs = RunInputs(KEY)
    board = inputs.board()
    ours.read_text()
    assert names(board.kept()) == []


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        (os.O_RDONLY, os.O_RDONLY, False),
        (os.O_WRONLY, os.O_WRONLY, False),
        (os.O_RDONLY, os.O_WRONLY, True),
        (os.O_WRONLY | os.O_APPEND, os.O_RDONLY, True),
        (os.O_RDWR, os.O_RDWR, True),
    ],
)
def test_which_two_boards_share_a_state(tmp_path: Path, first: int, second: int, shared: bool) -> None:
    file = tmp_path / "next.txt"
    file.write_text("1")
    together, in_turn = RunInputs(KEY), RunInputs(KEY, one_at_a_time=True)
    board = together.board()
    for _ in range(2):
        board.opened(file, first)  # one board may do what it likes
        board.opened(file, second)
    one, other = RunInputs(KEY), in_turn
    a, b = one.board(), one.board()
    a.opened(file, first)
    if shared:
        told: list[EfuseError] = []
        b.refuse = told.append
        with pytest.raises(EfuseError, match=r"next\.txt is read and written") as refused:
            b.opened(file, second)
        assert told == [refused.value]
    else:
        b.opened(file, second)
    a, b = other.board(), other.board()
    a.opened(file, first)
    b.opened(file, second)


def test_a_file_put_in_the_place_of_another_is_written(tmp_path: Path) -> None:
    file = tmp_path / "next.txt"
    file.write_text("1")
    run_inputs = RunInputs(KEY)
    run_inputs.board().opened(file, os.O_RDONLY)
    with pytest.raises(EfuseError):
        run_inputs.board().replaced(file)


def test_a_module_counts_by_its_source_also_where_python_had_compiled_it(tmp_path: Path) -> None:
    (tmp_path / "mine_too.py").write_text("x = 1\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(tmp_path)], check=True)
    source = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mine_too; sys.path.pop(0)"
    inputs = RunInputs(KEY)
    kept = run(tmp_path, source, inputs).outcome.inputs
    assert str(tmp_path / "mine_too.py") in dict(kept)
    again = run(tmp_path, "import mine_too", inputs).outcome.inputs  # another board finds it loaded
    assert str(tmp_path / "mine_too.py") in dict(again)


def test_a_module_that_a_script_writes_does_not_count(tmp_path: Path) -> None:
    path = str(tmp_path / "made.py")
    source = (
        f"import pathlib; made = pathlib.Path({path!r}); made.write_text('x = 1'); exec(made.read_text())"
    )
    assert path not in dict(run(tmp_path, source, RunInputs(KEY)).outcome.inputs)


def test_code_that_another_run_of_this_process_has_opened_is_not_this_runs(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("x = 1\n")
    source = f"import pathlib; pathlib.Path({str(other)!r}).read_text()"
    seen = run(tmp_path, source, RunInputs(KEY)).outcome.inputs
    assert str(other) in dict(seen)
    assert str(other) not in dict(run(tmp_path, "pass", RunInputs(KEY)).outcome.inputs)
