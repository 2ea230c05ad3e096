"""Whether a script uses its index: yes wherever that is not certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.script.commands.command_line import with_commands
from parburn.script.compiled import CompiledScripts, compile_scripts
from parburn.script.index_use import uses_the_index

USES = [
    "print(args.index)",
    "n = getattr(args, 'index')",
    "vars(args)",
    "a = args\nprint(a)",
    "import mine\nmine.burn(args)",
    "print(args.__dict__)",
    "eval('a' + 'rgs.ind' + 'ex')",
    "def f(a):\n    return a.index\nf(*[args])",
    "espefuse(esp, efuses, args, 'execute_scripts other.py --index {}'.format(n))",
    "espefuse.execute_scripts(['other.py'], index=5)",
    "names = ['index', 'port']",
]
DOES_NOT = [
    "print(args.port, args.configfiles[0].read())",
    "espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')",
    "espefuse(esp, efuses, args=args, command='summary')",
    "burn_efuse(esp, efuses, args)",
    "espefuse(esp, efuses, args, 'execute_scripts other.py')",
    "print('the index of the book')",
]


@pytest.mark.parametrize(("text", "uses"), [(t, True) for t in USES] + [(t, False) for t in DOES_NOT])
def test_a_script_uses_its_index(tmp_path: Path, text: str, uses: bool) -> None:
    path = tmp_path / "job.py"
    path.write_text(text)
    assert uses_the_index(compile_scripts([path])) is uses


def test_commands_use_it_where_they_hand_it_on(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("print(args.index)")
    other = tmp_path / "other.py"
    assert not uses_the_index(with_commands(CompiledScripts(), "burn_bit BLOCK3 1; summary"))
    assert uses_the_index(with_commands(CompiledScripts(), f"execute_scripts {other} --index 3"))
