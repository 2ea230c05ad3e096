"""Config files: errors name their place, every board has its own copy, large files are not copied."""

from __future__ import annotations

import copy
import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from parburn.config.records import ConfigFiles, load_config_files
from parburn.errors import UsageError
from parburn.script.config import ConfigHandle, ScriptJson
from parburn.script.json_views import OwnDict, OwnList, own_copy, plain


def load(handle: ConfigHandle) -> Any:
    return ScriptJson().__dict__["load"](handle)


def opened(files: ConfigFiles) -> ConfigHandle:
    return ConfigHandle(files.files[0])


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.json", "", "a.json:1:1: the file is empty"),
        ("a.json", "  \n", "a.json:1:1: the file is empty"),
        ("a.txt", "", "a.txt:1:1: the file is empty"),
        ("a.json", '{"1": "aa",\n "2" "bb"}', "a.json:2:6: not valid JSON"),
        ("a.json", "plain text", "a.json:1:1: not valid JSON"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, name: str, text: str, place: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(UsageError) as raised:
        load_config_files([path])
    assert place in str(raised.value)


def test_bytes_that_are_no_text_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"1": "a",\n "2": "\xff"}')
    with pytest.raises(UsageError, match=r"a\.json:2:8: not UTF-8"):
        load_config_files([path])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config_files([tmp_path / "none.json"])


def test_a_file_that_is_no_json_is_text(tmp_path: Path) -> None:
    files = load_config_files([write(tmp_path, "macs.csv", "1,aa:bb\n2,cc:dd\n")])
    assert [line.strip() for line in opened(files)] == ["1,aa:bb", "2,cc:dd"]
    broken = opened(load_config_files([write(tmp_path, "a.txt", '{"1": "aa",\n "2" "bb"}')]))
    assert broken.read() == '{"1": "aa",\n "2" "bb"}'


def test_a_byte_order_mark_does_not_hurt(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"1": "x"}')
    assert load(opened(load_config_files([path]))) == {"1": "x"}


def test_a_handle_is_a_text_file_and_loads_twice(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '{"1": {"mac": "aa"}}')
    handle = opened(load_config_files([path]))
    first, second = load(handle), load(handle)
    assert first == second == {"1": {"mac": "aa"}}
    first["1"]["mac"] = "changed"
    first["2"] = {}
    assert second == {"1": {"mac": "aa"}} == load(handle)
    assert handle.name == str(path)
    assert handle.mode == "r"
    assert handle.read() == path.read_text()
    assert handle.read() == ""
    handle.seek(0)
    assert handle.readline() == path.read_text()


def test_the_text_of_a_handle_parses_without_being_parsed_again(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", json.dumps({str(n): n for n in range(1000)}))
    files = load_config_files([path])
    text = opened(files).read()
    parsed = ScriptJson().__dict__["loads"](text)
    assert type(parsed) is OwnDict
    assert parsed == json.loads(text)
    assert ScriptJson().__dict__["loads"]('{"a": 1}') == {"a": 1}


def test_a_handle_that_was_read_from_loads_what_is_left(tmp_path: Path) -> None:
    handle = opened(load_config_files([write(tmp_path, "b.txt", 'header\n{"2": 3}')]))
    handle.readline()
    assert load(handle) == {"2": 3}


LARGE = {str(n): {"mac": f"02:{n}"} if n % 2 else n for n in range(300)}


def test_a_large_dict_is_a_dict_in_every_way() -> None:
    own = own_copy(LARGE)
    assert type(own) is OwnDict
    assert isinstance(own, dict)
    assert len(own) == 300
    assert own == LARGE
    assert dict(own) == LARGE
    assert {**own_copy(LARGE)} == LARGE
    assert json.loads(json.dumps(own_copy(LARGE))) == LARGE
    assert list(own_copy(LARGE)) == list(LARGE)
    assert list(own_copy(LARGE).items()) == list(LARGE.items())
    assert list(own_copy(LARGE).values()) == list(LARGE.values())
    assert list(reversed(own_copy(LARGE))) == list(reversed(LARGE))
    assert "7" in own_copy(LARGE)
    assert own_copy(LARGE).get("x", 5) == 5
    assert own_copy(LARGE).get("7") == {"mac": "02:7"}
    assert repr(own_copy(LARGE)) == repr(LARGE)
    assert copy.deepcopy(own_copy(LARGE)) == LARGE
    assert pickle.loads(pickle.dumps(own_copy(LARGE))) == LARGE
    assert own_copy(LARGE) | {"x": 1} == {**LARGE, "x": 1}
    with pytest.raises(KeyError):
        own_copy(LARGE)["x"]


def test_changes_stay_with_their_owner() -> None:
    one, other = own_copy(LARGE), own_copy(LARGE)
    record = one["7"]
    record["mac"] = "changed"
    assert one["7"]["mac"] == "changed"
    one["new"] = 1
    assert one["7"] is record  # still, after everything was copied
    assert one["new"] == 1
    del one["8"]
    assert one.pop("9") == LARGE["9"]
    one.update({"10": 0})
    assert "8" not in one
    assert len(one) == 299
    assert other == LARGE
    assert LARGE["7"] == {"mac": "02:7"}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.clear(),
        lambda d: d.popitem(),
        lambda d: d.setdefault("x", 1),
        lambda d: d.__ior__({"x": 1}),
        lambda d: d.__setitem__("1", 1),
    ],
)
def test_every_change_of_a_dict_does_what_it_does_to_a_dict(change: Any) -> None:
    own, real = own_copy(LARGE), copy.deepcopy(LARGE)
    assert change(own) == change(real)
    assert own == real
    assert len(own) == len(real)


def test_a_large_list_is_a_list() -> None:
    large = [{"id": n} for n in range(200)]
    own: Any = own_copy(large)
    assert isinstance(own, list)
    assert type(own_copy(large)) is OwnList
    assert own[3] == {"id": 3}
    own[3]["id"] = "changed"
    assert own[-197]["id"] == "changed"
    assert own[2:4] == [{"id": 2}, {"id": "changed"}]
    own.append(5)
    assert len(own) == 201
    assert own[3] == {"id": "changed"}
    assert large[3] == {"id": 3}
    assert own_copy(large) == large
    assert plain(own_copy({"a": large})) == {"a": large}
    assert ScriptJson().__dict__["dumps"](own_copy(large)) == json.dumps(large)


def test_a_large_file_costs_each_board_next_to_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", json.dumps({str(n): f"{n:012x}" for n in range(100_000)}))
    started = time.process_time()
    files = load_config_files([path])
    once = time.process_time() - started
    started = time.process_time()
    for index in range(64):
        assert load(opened(files))[str(index)] == f"{index:012x}"
    assert time.process_time() - started < max(0.3 * once, 0.02)
