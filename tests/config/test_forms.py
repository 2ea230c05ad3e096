"""How records lie in a file: what names its indexes is read so, and nothing is guessed by place."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from parburn.config.records import ConfigFiles, load_config_files
from parburn.config.tables import find_tables
from parburn.errors import RecordsUndeclared, UsageError

MACS = {"02:00:00:00:00:01": 1, "02:00:00:00:00:02": 2}


def load(folder: Path, name: str, text: str, form: str = "") -> ConfigFiles:
    path = folder / name
    path.write_bytes(text.encode())
    return load_config_files([path], [f"{name}={form}"] if form else [])


def said(files: ConfigFiles, index: int) -> Any:
    """What the only file says for an index."""
    (one,) = files._said
    assert one.records is not None, "it has no records"
    return one.records.get(index)


# Named by themselves: name, text, what it says for 1, what for 2, the highest index.
NAMED: list[tuple[str, str, Any, Any, int]] = [
    ("a.json", '{"1": "aa", "2": "bb"}', "aa", "bb", 2),
    ("a.json", '{"0001": "aa", "0002": "bb", "0010": "cc"}', "aa", "bb", 10),
    ("a.json", '{"01": "aa", "2": "bb", "0010": "cc"}', "aa", "bb", 10),
    ("a.json", '{"dev0001": "aa", "dev0002": "bb"}', "aa", "bb", 2),
    ("a.json", '{"dev1": "aa", "dev2": "bb", "dev10": "cc"}', "aa", "bb", 10),
    ("a.json", '{"version": 3, "1": "aa", "2": "bb"}', "aa", "bb", 2),
    ("a.json", '{"dev1": "no", "1": "aa", "2": "bb"}', "aa", "bb", 2),
    ("a.json", '{"v2": "no", "unit 1": "aa", "unit 2": "bb"}', "aa", "bb", 2),
    ("a.json", '{"units": {"dev1": {"mac1": "x", "mac2": "y"}, "dev2": "bb"}}',
     {"mac1": "x", "mac2": "y"}, "bb", 2),
    ("a.json", '{"a": {"b": {"c": {"1": "aa", "2": "bb"}}}}', "aa", "bb", 2),
    ("a.json", '{"line3": {"1": "aa", "2": "bb"}}', "aa", "bb", 2),
    ("a.json", '{"mac": {"1": "aa", "2": "bb"}, "id": {"1": "cc"}}',
     {"mac": "aa", "id": "cc"}, {"mac": "bb"}, 2),
    ("a.json", '[{"index": 2, "id": "bb"}, {"index": 1, "id": "aa"}]', {"id": "aa"}, {"id": "bb"}, 2),
    ("a.txt", '{"1": "aa", "2": "bb"}', "aa", "bb", 2),
    ("a.csv", "index,id\n1,aa\n2,bb\n", {"id": "aa"}, {"id": "bb"}, 2),
    ("a.csv", 'id;"Index"\naa;1\n"b;b";2\n', {"id": "aa"}, {"id": "b;b"}, 2),
    ("a.tsv", "id\tindex\r\nbb\t2\r\naa\t1\r\n\r\n", {"id": "aa"}, {"id": "bb"}, 2),
    ("a.csv", 'index,id\n1,"a\na"\n2,bb\n', {"id": "a\na"}, {"id": "bb"}, 2),
    ("a.jsonl", '{"index": 2, "id": "bb"}\n{"id": "aa", "index": "1"}\n', {"id": "aa"}, {"id": "bb"}, 2),
    ("a.ini", "# head\n[1]\nid = aa\n[2]\nid = bb\n[DEFAULT]\nx = 1\n", {"id": "aa"}, {"id": "bb"}, 2),
    ("a.cfg", "[dev01]\nid = aa\n[dev02]\nid = bb\n[wifi]\nx = 1\n", {"id": "aa"}, {"id": "bb"}, 2),
    ("a.toml", '[1]\nid = "aa"\n[2]\nid = "bb"\n', {"id": "aa"}, {"id": "bb"}, 2),
    ("a.toml", 'v = 1\n[unit.1]\nid = "aa"\n[unit.2]\nid = "bb"\n', {"id": "aa"}, {"id": "bb"}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "one", "two", "last"), NAMED)
def test_a_file_that_names_its_indexes(
    tmp_path: Path, name: str, text: str, one: Any, two: Any, last: int
) -> None:
    files = load(tmp_path, name, text)
    assert files.forms == {name: "names"}
    assert said(files, 1) == one
    assert said(files, 2) == two
    assert files.last == last
    assert files.entries(last + 1) == ""
    assert not files.undeclared


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(MACS)),
        ("a.json", json.dumps({mac.replace(":", ""): n for mac, n in MACS.items()})),
        ("a.json", '{"aabbccdd0011": 1, "aabbccdd0012": 2}'),
        ("a.json", '["aa", "bb"]'),
        ("a.json", '{"devices": [{"id": 1}]}'),
        ("a.json", '{"mac1": 1, "mac2": 2, "id1": 3, "id2": 4}'),  # two common texts
        ("a.json", '{"4711000000012": "a serial number"}'),
        ("a.json", '{"ssid": "x"}'),
        ("a.csv", "id,mac\n1,aa\n2,bb\n"),
        ("a.csv", "1,aa\n2,bb\n"),
        ("a.txt", "1001\n1002\n"),
        ("a.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n"),
        ("a.ini", "[alpha]\nid = 1\n[beta]\nid = 2\n"),
        ("a.toml", '[[device]]\nid = "aa"\n'),
        ("a.jsonl", '{"id": "aa"}\n{"id": "bb"}\n'),
    ],
)
def test_a_file_that_does_not(tmp_path: Path, name: str, text: str) -> None:
    files = load(tmp_path, name, text)
    assert files.undeclared == (name,)
    assert not files.has_records
    refused = files.undeclared_error()
    assert isinstance(refused, RecordsUndeclared)
    assert f"--records {name}=none" in refused.hint


DECLARED: list[tuple[str, str, str, Any, Any, int]] = [
    ("a.csv", "id,mac\n7,aa\n8,bb\n", "row", {"id": "7", "mac": "aa"}, {"id": "8", "mac": "bb"}, 2),
    ("a.csv", "7,aa\n8,bb\n", "row", ["7", "aa"], ["8", "bb"], 2),
    ("a.csv", "serial\n1001\n1002\n", "row", {"serial": "1001"}, {"serial": "1002"}, 2),
    ("a.csv", "dev1\ndev2\n", "row", ["dev1"], ["dev2"], 2),  # written alike: no header
    ("a.csv", 'id,x\n7,"a\nb"\n8,"c"\n', "row", {"id": "7", "x": "a\nb"}, {"id": "8", "x": "c"}, 2),
    ("a.csv", "nr,mac\n2,bb\n1,aa\n", "column:nr", {"mac": "aa"}, {"mac": "bb"}, 2),
    ("a.csv", "bb;2\naa;1\n", "column:2", ["aa"], ["bb"], 2),
    ("a.txt", "1001\n1002\n", "line", ["1001"], ["1002"], 2),
    ("a.txt", "1001\r1002\r", "line", ["1001"], ["1002"], 2),
    ("a.csv", "serial\n1001\n", "line", ["serial"], ["1001"], 2),
    ("a.json", '["aa", {"id": 1}]', "item", "aa", {"id": 1}, 2),
    ("a.json", '{"v": 3, "devices": ["aa", "bb"]}', "item", "aa", "bb", 2),
    ("a.json", '{"x": {"macs": ["aa", "bb"], "ids": [1]}}', "item", {"x/macs": "aa", "x/ids": 1},
     {"x/macs": "bb"}, 2),
    ("a.jsonl", '{"id": "aa"}\n{"id": "bb"}\n', "item", {"id": "aa"}, {"id": "bb"}, 2),
    ("a.ini", "[alpha]\nid = 1\n[DEFAULT]\nx = 1\n[beta]\nid = 2\n", "section", {"alpha": {"id": "1"}},
     {"beta": {"id": "2"}}, 2),
    ("a.toml", '[[device]]\nid = "aa"\n[[device]]\nid = "bb"\n', "item", {"id": "aa"}, {"id": "bb"}, 2),
    ("a.json", '{"alpha": 1, "beta": 2}', "section", {"alpha": 1}, {"beta": 2}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "form", "one", "two", "last"), DECLARED)
def test_a_form_that_is_declared(
    tmp_path: Path, name: str, text: str, form: str, one: Any, two: Any, last: int
) -> None:
    files = load(tmp_path, name, text, form)
    assert said(files, 1) == one
    assert said(files, 2) == two
    assert files.last == last
    assert files.entries(last + 1) == ""
    assert files.forms == {name: form}


@pytest.mark.parametrize(
    ("name", "text", "form", "says"),
    [
        ("a.csv", "id\n1\n", "item", "no records of the form item"),
        ("a.json", '["a"]', "row", "no records of the form row"),
        ("a.json", '{"a": 1}', "item", "no records of the form item"),
        ("a.csv", "id,mac\n1,aa\n", "column:nr", "no column 'nr'"),
        ("a.csv", "id,mac\n1,aa\n", "rows", "'rows' is not a form"),
        ("a.csv", "id,mac\n1,aa\n\n2,bb\n", "row", "a.csv:3: an empty line between rows"),
        ("a.csv", "nr,mac\nx,aa\n", "column:nr", "a.csv:2: 'x' is not an index"),
        ("a.csv", "nr,mac\n,aa\n", "column:nr", "a.csv:2: '' is not an index"),
        ("a.ini", "[1]\nid\n  = 8\n", "section", "no records of the form section"),  # a bare name goes on
    ],
)
def test_a_form_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, text: str, form: str, says: str
) -> None:
    with pytest.raises(UsageError) as refused:
        load(tmp_path, name, text, form)
    assert says in str(refused.value)


def test_only_a_config_file_can_be_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n")
    with pytest.raises(UsageError, match=r"'b\.csv' is none of the config files"):
        load_config_files([path], ["b.csv=row"])
    (tmp_path / "below").mkdir()
    second = tmp_path / "below" / "a.csv"
    second.write_text("id\n1\n")
    with pytest.raises(UsageError, match=r"'a\.csv' names more than one"):
        load_config_files([path, second], ["a.csv=row"])
    files = load_config_files([path, second], [f"{path}=row", f"{second}=none"])
    assert sorted(files.forms.values()) == ["none", "row"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", '{"1": "aa",\n "2": "bb",\n "1": "cc"}', "1 stands twice in a.json: a.json:1 and "),
        ("a.json", '{"1": "aa",\n "01": "bb"}', "1 stands twice in a.json: a.json:1 and a.json:2"),
        ("a.json", '{"x": {"dev1": 1,\n\n"dev2" : 2, "dev1" : 3}}', "a.json:1 and a.json:3"),
        ("a.json", '{"1": "a", "1": "a"}', "a.json:1, twice in that line"),
        ("a.json", '[{"index": 1}, {"index": 1}]', "item 1 and item 2"),
        ("a.csv", "index,id\n2,a\n1,b\n2,c\n", "index 2 stands twice in a.csv: a.csv:2 and a.csv:4"),
        ("a.csv", 'index,id\n2,"a\n"\n02,c\n', "a.csv:2 and a.csv:4"),
        ("a.jsonl", '{"index": 1}\n{"index": "1"}\n', "a.jsonl:1 and a.jsonl:2"),
        ("a.ini", "[1]\nid = 1\n[1]\nid = 2\n", "a.ini:1 and a.ini:3"),
        ("a.ini", "[1]\nid = 1\n[01]\nid = 2\n", "a.ini:1 and a.ini:3"),
    ],
)  # fmt: skip
def test_one_index_twice_is_refused_with_both_places(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        load(tmp_path, name, text)
    assert says in str(refused.value)


@pytest.mark.parametrize("text", ["{}", "[]"])
def test_an_empty_file_needs_no_form_until_it_grows(tmp_path: Path, text: str) -> None:
    empty = load(tmp_path, "a.json", text)
    assert empty.undeclared == ()
    assert empty.forms == {"a.json": ""}  # nothing for a batch to remember
    assert load(tmp_path, "a.json", '["x"]').undeclared == ("a.json",)


def test_a_key_twice_that_is_no_index_is_left_to_json(tmp_path: Path) -> None:
    files = load(tmp_path, "a.json", '{"1": {"id": 1, "id": 2}, "2": "a \\": b"}')
    assert said(files, 1) == {"id": 2}


def test_what_stands_beside_records_is_shared(tmp_path: Path) -> None:
    one = load(tmp_path, "a.json", '{"version": 3, "units": {"1": "aa", "note": "x"}}')
    grown = load(tmp_path, "a.json", '{"units": {"2": "bb", "note": "x", "1": "aa"},\n"version": 3}')
    other = load(tmp_path, "a.json", '{"version": 4, "units": {"1": "aa", "note": "x"}}')
    alone = load(tmp_path, "a.json", '{"1": "aa"}')
    assert one.shared == grown.shared != other.shared
    assert alone.shared == {"a.json": ""}
    assert one.entries(1) == other.entries(1)
    assert one.of_job(1) == grown.of_job(1) != other.of_job(1)


def test_a_million_plain_keys_are_kept_nowhere_but_in_the_data() -> None:
    """Whatever the values begin with; keys that need a map of their own get one."""
    (plain,) = find_tables({"1": "02:00:00:00:00:01", "10": "x"}, plain=True)
    (padded,) = find_tables({"01": "a", "2": "b"}, plain=True)
    assert plain.keys is None
    assert padded.keys == {1: "01", 2: "2"}


def test_a_blank_record_is_none_and_keeps_its_place(tmp_path: Path) -> None:
    for name, text, form in (
        ("a.csv", "id,mac\n1,aa\n,\n3,cc\n", "row"),
        ("a.txt", "1001\n\n1003\n", "line"),
        ("a.json", '["aa", null, "cc"]', "item"),
        ("a.json", '["aa", {"id": ""}, "cc"]', "item"),
        ("a.json", '{"1": "aa", "2": "", "3": "cc"}', ""),
    ):
        files = load(tmp_path, name, text, form)
        assert [files.entries(n) != "" for n in (1, 2, 3, 4)] == [True, False, True, False], text


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ids.csv", "id\n1001\n1002\n", "--records ids.csv=row (ids.csv:2 is index 1: 1001)"),
        ("ids.csv", "1001;x\n1002;y\n", "--records ids.csv=row (ids.csv:1 is index 1: 1001, x)"),
        ("ids.txt", "\n1001\n", "--records ids.txt=line (ids.txt:2 is index 2: 1001)"),
        ("ids.json", '{"a": ["1001"]}', "--records ids.json=item (ids.json item 1 is index 1: 1001)"),
        (
            "ids.ini",
            "[alpha]\nid = 1001\n",
            "--records ids.ini=section (ids.ini section 'alpha' is index 1: ",
        ),
        ("k.csv", f"key\n{'ab' * 32}\n", "(k.csv:2 is index 1: (64 characters))"),
    ],
)
def test_the_refusal_says_what_a_form_would_mean(tmp_path: Path, name: str, text: str, says: str) -> None:
    refused = load(tmp_path, name, text).undeclared_error()
    assert "scripts use args.index" in str(refused)
    assert says in refused.hint


def test_digests_depend_on_neither_names_nor_order(tmp_path: Path) -> None:
    for name, text in (("a.json", '{"1": "aa"}'), ("b.json", '{"1": "bb"}'), ("c.json", '{"1": "aa"}')):
        (tmp_path / name).write_text(text)
    a, b, c = (tmp_path / name for name in ("a.json", "b.json", "c.json"))
    assert load_config_files([a]).digest == load_config_files([c]).digest
    assert load_config_files([a]).entries(1) == load_config_files([c]).entries(1)
    assert load_config_files([a, b]).digest == load_config_files([b, a]).digest
    assert len(load_config_files([a, b]).entries(1).split()) == 2
    assert load_config_files([]).digest == ""
    assert load_config_files([a]).digest == load_config_files([a]).old_digest  # as older ledgers know it


def test_records_as_older_ledgers_know_them(tmp_path: Path) -> None:
    files = load(tmp_path, "deep.json", '{"esp32": {"1": "cc"}, "esp32s3": {"1": "dd", "3": "ee"}}')
    assert files.old_entries(1) == hashlib.sha256(b'{"esp32":"cc","esp32s3":"dd"}').hexdigest()
    assert files.old_entries(2) == ""
    carried = [(1, files.old_entries(1)), (1, files.entries(1)), (3, files.entries(3))]
    assert files.first_missing(carried) is None
    assert files.first_missing([*carried, (4, files.entries(3))]) == (4, files.entries(3))
