"""What parburn hands out to scripts is each board's own: no board sees what another one sets in it."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from parburn.script.board_modules import OwnModule
from tests.script.board import make_board, run

# What sets something on one board, and what asks for it on another: False when it is not to be seen.
SHARED_ONCE = {
    "json": ("json.unit = 1", "hasattr(json, 'unit')"),
    "import json": ("import json; json.unit = 1", "hasattr(__import__('json'), 'unit')"),
    "from json": ("from json import decoder; decoder.unit = 1", "hasattr(json.decoder, 'unit')"),
    "import_module": (
        "import importlib; importlib.import_module('json').unit = 1",
        "hasattr(__import__('importlib').import_module('json'), 'unit')",
    ),
    "os": ("os.unit = 1", "hasattr(os, 'unit')"),
    "os.path": ("import os.path as p; p.unit = 1", "hasattr(os.path, 'unit')"),
    "os.environ": ("import os; os.environ['UNIT'] = '1'", "'UNIT' in os.environ"),
    "os.putenv": ("os.putenv('UNIT', '1')", "os.getenv('UNIT') is not None"),
    "io": ("import io; io.unit = 1", "hasattr(io, 'unit')"),
    "random": ("import random; random.unit = 1", "hasattr(__import__('random'), 'unit')"),
    "random.seed": (
        "import random; random.seed(1)",
        "(lambda r: r.random() == r.Random(1).random())(__import__('random'))",
    ),
    "argparse": ("argparse.unit = 1", "hasattr(argparse, 'unit')"),
    "traceback": ("traceback.unit = 1", "hasattr(traceback, 'unit')"),
    "builtins": ("import builtins; builtins.unit = 1", "hasattr(__import__('builtins'), 'unit')"),
    "esptool": ("import esptool; esptool.unit = 1", "'unit' in vars(esptool)"),
    "esptool.util": ("import esptool.util; esptool.util.unit = 1", "'unit' in vars(esptool.util)"),
    "espsecure": ("espsecure.unit = 1", "'unit' in vars(espsecure)"),
    "espefuse": ("espefuse.unit = 1", "'unit' in vars(espefuse)"),
    "espefuse's lists": ("espefuse.SUPPORTED_COMMANDS.append('x')", "'x' in espefuse.SUPPORTED_COMMANDS"),
    "util": ("util.unit = 1", "'unit' in vars(util)"),
    "util's functions": ("util.popcnt.unit = 1", "hasattr(util.popcnt, 'unit')"),
    "fields": ("fields.unit = 1", "'unit' in vars(fields)"),
}


@pytest.mark.parametrize("name", SHARED_ONCE)
def test_what_one_board_sets_no_other_sees(tmp_path: Path, name: str) -> None:
    sets, asks = SHARED_ONCE[name]
    own = run(make_board("esp32c3"), f"{sets}\nprint({asks})", folder=tmp_path)
    assert (own.error, own.output) == ("", "True\n"), "it must be seen where it was set"
    other = run(make_board("esp32c3"), f"print({asks})", folder=tmp_path)
    assert (other.error, other.output) == ("", "False\n")


def test_the_process_keeps_its_own_modules(tmp_path: Path) -> None:
    source = (
        "import random, json, os\nrandom.seed(1); json.dumps = None; os.environ['UNIT'] = '1'; os.sep = '!'"
    )
    state = random.getstate()
    assert run(make_board("esp32c3"), source, folder=tmp_path).error == ""
    assert (random.getstate(), os.sep, "UNIT" in os.environ) == (state, "/", False)
    assert json.dumps([1]) == "[1]"


def test_a_class_that_all_see_takes_nothing(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), "import esptool\nesptool.FatalError.unit = 1", folder=tmp_path)
    assert "shared by all boards" in ran.error


def test_own_modules_are_otherwise_as_ever(tmp_path: Path) -> None:
    source = (
        "from os import *\n"
        "from os.path import join\n"
        "import random, io\n"
        "assert 'getcwd' in dir(os) and os.getcwd() == getcwd() and join('a', 'b') == 'a/b'\n"
        "assert os.environ['PATH'] == os.getenv('PATH') and 'no such' not in os.environ\n"
        "assert random.choice([5]) == 5 and random.Random(3).random() == random.Random(3).random()\n"
        "random.seed(7); a = random.random(); random.seed(7); assert a == random.random()\n"
        "assert isinstance(io.StringIO(), io.IOBase) and json.loads('[1]') == [1]\n"
        "try: json.loads('{')\n"
        "except json.JSONDecodeError: print('as ever')\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert (ran.error, ran.output) == ("", "as ever\n")


def test_a_name_is_fetched_when_it_is_asked_for() -> None:
    own = OwnModule(os)
    assert "cpu_count" not in vars(own)
    assert own.cpu_count() == os.cpu_count()
    assert "cpu_count" in vars(own)


INDEX = {
    "args.index = 10": "",
    "setattr(args, 'index', 10)": "",
    "vars(args)['index'] = 10": "",
    "args.__dict__['index'] = 10": "",
    "args.__dict__.update(index=10)": "",
    "args.__dict__ |= {'index': 10}": "",
    "args.__dict__ = {'index': 10}": "",
    "del args.index": "",
    "vars(args).clear()": "",
    "vars(args).pop('index')": "",
    "args._own_index = 10": "",
}


@pytest.mark.parametrize("source", INDEX)
def test_the_index_cannot_be_assigned(tmp_path: Path, source: str) -> None:
    ran = run(make_board("esp32c3"), source, folder=tmp_path, index=3)
    assert "args.index cannot be changed" in ran.error
    assert ran.outcome.error is not None
    assert "args.index" in ran.outcome.error.hint


def test_the_index_stays_whatever_is_done_to_the_rest(tmp_path: Path) -> None:
    source = (
        "object.__getattribute__(args, '__dict__').update\n"
        "dict.__setitem__(vars(args), 'index', 10)\n"
        "args.more = 5; vars(args)['less'] = 6; del args.more\n"
        "print(args.index, args.less, hasattr(args, 'more'), 'port' in args)\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path, index=3)
    assert (ran.error, ran.output) == ("", "3 6 False True\n")
