"""Config records by the installed command: declared or named, compared by meaning, never given twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Outcome, finish, parburn, start
from tests.provisioning import every_bit, said, script
from tests.rig import Rig, start_rig

TABLE = "SERIAL, EFUSE_BLK3, 56, 32, its serial number\n"
BURN = "espefuse(esp, efuses, args, 'burn_efuse SERIAL {}'.format(serial))\n"

DICTS = (
    "import csv\nrows = list(csv.DictReader(args.configfiles[0]))\nserial = rows[args.index - 1]['serial']\n"
)
BY_NAME = (
    "import csv\nrows = csv.DictReader(args.configfiles[0], delimiter=';')\n"
    "serial = next(row['serial'] for row in rows if int(row['index']) == args.index)\n"
)
LINES = "serial = args.configfiles[0].read().splitlines()[args.index - 1].strip()\n"
LIST = "serial = json.load(args.configfiles[0])[args.index - 1]\n"
DEVICES = "serial = json.load(args.configfiles[0])['devices'][args.index - 1]['serial']\n"
PADDED = "serial = json.load(args.configfiles[0])['%04d' % args.index]\n"
NAMED = "serial = json.load(args.configfiles[0])['units']['dev%04d' % args.index]['serial']\n"
OBJECTS = (
    "rows = [json.loads(line) for line in args.configfiles[0]]\n"
    "serial = next(row['serial'] for row in rows if row['index'] == args.index)\n"
)
SECTIONS = (
    "import configparser\nini = configparser.ConfigParser()\nini.read_file(args.configfiles[0])\n"
    "serial = ini[str(args.index)]['serial']\n"
)


def listed(serials: list[int]) -> str:
    return json.dumps(serials)


def devices(serials: list[int]) -> str:
    return json.dumps({"version": 3, "devices": [{"serial": one} for one in serials]}, indent=1)


def padded(serials: list[int]) -> str:
    return json.dumps({f"{n:04d}": one for n, one in enumerate(serials, 1)})


def named(serials: list[int]) -> str:
    units = {f"dev{n:04d}": {"serial": one} for n, one in enumerate(serials, 1)}
    return json.dumps({"version": 3, "units": units})


def lines(serials: list[int]) -> str:
    return "".join(f"{one}\n" for one in serials)


def table(serials: list[int]) -> str:
    return "serial,note\n" + "".join(f'{one},"a note, {n}"\n' for n, one in enumerate(serials, 1))


def indexed(serials: list[int]) -> str:
    return "index;serial\n" + "".join(f"{n};{one}\n" for n, one in enumerate(serials, 1))


def objects(serials: list[int]) -> str:
    return "".join(json.dumps({"index": n, "serial": one}) + "\n" for n, one in enumerate(serials, 1))


def sections(serials: list[int]) -> str:
    return "".join(f"[{n}]\nserial = {one}\n" for n, one in enumerate(serials, 1))


# The file's name, its text, how a script reads it, and the form to declare.
SHAPES = [
    ("serials.csv", table, DICTS, "row"),
    ("serials.csv", indexed, BY_NAME, ""),
    ("serials.txt", lines, LINES, "line"),
    ("serials.json", listed, LIST, "item"),
    ("serials.json", devices, DEVICES, "item"),
    ("serials.json", padded, PADDED, ""),
    ("serials.json", named, NAMED, ""),
    ("serials.jsonl", objects, OBJECTS, ""),
    ("serials.ini", sections, SECTIONS, ""),
]  # fmt: skip
IDS = ["csv", "csv-index", "lines", "list", "devices", "padded", "named", "json-lines", "ini"]


class Line:
    """A line that burns serials: one folder, one ledger, simulated boards."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        self.folder, self.rig = folder, rig
        (folder / "table.csv").write_text(TABLE)

    def burn(
        self,
        *boards: int,
        files: tuple[str, ...],
        text: str,
        more: tuple[str, ...] = (),
        json_lines: bool = True,
    ) -> Outcome:
        job = script(self.folder, "job", text + BURN if "serial" in text else text)
        words = [*self.words(boards, job), *(["--json"] if json_lines else [])]
        paths = [self.folder / name for name in files]
        return parburn(*words, "--configfiles", *paths, *more, state=self.folder / "state")

    def words(self, boards: tuple[int, ...], job: Path) -> list[object]:
        ports = [self.rig.ports[n] for n in boards]
        return [
            "--ports", *ports, "--scripts", job, "--extend-efuse-table", self.folder / "table.csv",
            "--do-not-confirm",
        ]  # fmt: skip

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_bytes(text.encode())

    def serials(self) -> list[int]:
        return [self.rig.bits(n, 3) >> 56 & 0xFFFFFFFF for n in range(len(self.rig.ports))]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with start_rig("esp32c3", 4, tmp_path=tmp_path) as rig:
        yield Line(tmp_path, rig)


def error_of(outcome: Outcome) -> str:
    return outcome.stdout + outcome.stderr


# Point 1: what does not lie in an object with the keys 1, 2, ... is a record all the same


@pytest.mark.parametrize(("name", "write", "read", "form"), SHAPES, ids=IDS)
def test_a_file_that_grows_gives_each_board_its_own_record(
    line: Line, name: str, write: object, read: str, form: str
) -> None:
    assert callable(write)
    declared = ("--records", f"{name}={form}") if form else ()
    line.write(name, write([1001, 1002]))
    first = line.burn(0, files=(name,), text=read, more=declared)
    assert first.exit == 0, said(first)
    line.write(name, write([1001, 1002, 1003]).replace("\n", "\r\n"))  # a row more, and other line ends
    bits = every_bit(line.rig)[0]
    second = line.burn(0, 1, 2, 3, files=(name,), text=read)  # the batch remembers how its records lie
    assert second.words == ["already-pass", "pass", "pass", "refused"], said(second)
    assert every_bit(line.rig)[0] == bits
    assert second.exit == 4
    assert f"No record is left: {name} has 3" in error_of(second)
    assert line.serials() == [1001, 1002, 1003, 0]
    other = line.burn(3, files=(name,), text=read, more=("--batch", "other", *declared))
    assert other.exit == 3, said(other)
    assert "--batch config-" in error_of(other)
    assert line.serials()[3] == 0


@pytest.mark.parametrize(
    ("name", "write", "read", "form"),
    [row for row in SHAPES if row[3]],
    ids=["csv", "lines", "list", "devices"],
)
def test_without_a_declaration_no_port_is_opened_and_the_option_is_told(
    line: Line, name: str, write: object, read: str, form: str
) -> None:
    assert callable(write)
    line.write(name, write([1001, 1002]))
    before = every_bit(line.rig)
    outcome = line.burn(0, files=(name,), text=read)
    assert outcome.exit == 2, said(outcome)
    assert not any(event["event"] == "start" for event in outcome.events)
    place = {"row": ":2", "line": ":1", "item": " item 1"}[form]
    assert f"--records {name}={form} ({name}{place} is index 1: 1001" in error_of(outcome)
    assert f"--records {name}=none" in error_of(outcome)
    assert every_bit(line.rig) == before


def test_a_file_that_no_script_indexes_needs_no_declaration(line: Line) -> None:
    line.write("wifi.csv", "ssid,channel\nfactory,6\n")
    text = "args.configfiles[0].read()\nespefuse(esp, efuses, args, 'burn_bit BLOCK3 7')\n"
    outcome = line.burn(0, 1, 2, files=("wifi.csv",), text=text)
    assert outcome.exit == 0, said(outcome)


def test_shared_data_never_end_and_may_not_change(line: Line) -> None:
    line.write("region.txt", "eu\n")
    text = "serial = 7000 + args.index\nargs.configfiles[0].read()\n"
    assert line.burn(0, 1, files=("region.txt",), text=text, more=("--records", "region.txt=none")).exit == 0
    line.write("region.txt", "us\n")
    changed = line.burn(2, files=("region.txt",), text=text, more=("--records", "region.txt=none"))
    assert changed.exit == 3, said(changed)
    assert "region.txt says something else" in error_of(changed)
    batch = next(word for word in error_of(changed).split() if word.startswith("config-"))
    allowed = ("--batch", batch, "--allow-changed-config")
    outcome = line.burn(2, files=("region.txt",), text=text, more=allowed)
    assert outcome.exit == 0, said(outcome)
    assert line.serials() == [7001, 7002, 7003, 0]


def test_a_row_that_is_deleted_is_refused_and_one_that_is_blanked_is_not(line: Line) -> None:
    text = table([1001, 1002, 1003, 1004])
    line.write("serials.csv", text)
    declared = ("--records", "serials.csv=row")
    assert line.burn(0, 1, files=("serials.csv",), text=DICTS, more=declared).exit == 0
    line.write("serials.csv", text.replace('1001,"a note, 1"\n', ""))
    deleted = line.burn(2, files=("serials.csv",), text=DICTS)
    assert deleted.exit == 3, said(deleted)
    assert "blanked, not deleted" in error_of(deleted)
    assert line.serials()[2] == 0
    blanked = 'serial,note\n1001,"a note, 1"\n1002,"a note, 2"\n,\n1004,"a note, 4"\n'
    line.write("serials.csv", blanked)
    outcome = line.burn(2, files=("serials.csv",), text=DICTS)
    assert outcome.exit == 0, said(outcome)
    assert line.serials() == [1001, 1002, 1004, 0]


def test_one_index_twice_is_refused_with_both_lines(line: Line) -> None:
    line.write("serials.csv", "index;serial\n1;1001\n2;1002\n1;1003\n")
    outcome = line.burn(0, files=("serials.csv",), text=BY_NAME)
    assert outcome.exit == 2, said(outcome)
    assert "index 1 stands twice in serials.csv: serials.csv:2 and serials.csv:4" in error_of(outcome)


def test_one_record_written_in_two_ways_is_one_record(line: Line) -> None:
    """Order of keys, spaces, separators and letter case of a MAC, and what begins with 0x."""
    text = "unit = json.load(args.configfiles[0])[str(args.index)]\nserial = int(unit['id'], 0)\n"
    line.write("a.json", '{"1": {"mac": "AA:CD:EF:00:00:01", "id": "0x1A"}, "2": {"mac": "b", "id": "2"}}')
    assert line.burn(0, files=("a.json",), text=text).exit == 0
    line.write("a.json", '{"version": 3,\n "1": {"id": "0X1a", "mac": "aa-cd-ef-00-00-01"},\n'
               ' "2": {"mac": "b", "id": 2}, "3": {"id": "3"}}')  # fmt: skip
    outcome = line.burn(1, files=("a.json",), text=text.replace("int(unit['id'], 0)", "unit['id']"))
    assert outcome.exit in (0, 3), said(outcome)
    other = line.burn(2, files=("a.json",), text=text, more=("--batch", "other"))
    assert other.exit == 3, said(other)
    assert "what the chip" in error_of(other)


# Point 3: two stations


def test_two_stations_keep_one_index_and_the_refusal_prints_the_command(line: Line) -> None:
    keys = ("espefuse(esp, efuses, args, 'burn_bit BLOCK_KEY0 {}'.format("
            "list(open_rows('keys'))[args.index - 1]))\n")  # fmt: skip
    find = (
        "import csv\n"
        "def open_rows(name):\n"
        "    file = next(one for one in args.configfiles if name in one.name)\n"
        "    return [row[name[:-1]] for row in csv.DictReader(file)]\n"
    )
    line.write("serials.csv", "serial\n1001\n1002\n")
    line.write("keys.csv", "key\n100\n101\n")
    declared = ("--records", "serials.csv=row")
    first = "serial = open_rows('serials')[args.index - 1]\n"
    assert line.burn(0, 1, files=("serials.csv",), text=find + first, more=declared).exit == 0
    # The other station, the boards in another order.
    wrong = line.burn(
        1, files=("keys.csv",), text=find + keys, more=("--records", "keys.csv=row"), json_lines=False
    )
    assert wrong.exit == 3, said(wrong)
    found = re.search(
        r"--batch (config-\w+) --configfiles serials.csv keys.csv", " ".join(said(wrong).split())
    )
    assert found, said(wrong)
    batch = found[1]
    for files in (("keys.csv", "serials.csv"), ("serials.csv", "keys.csv")):
        right = line.burn(
            1, 0, files=files, text=find + keys, more=("--batch", batch, "--records", "keys.csv=row")
        )
        assert right.exit == 0, said(right)
        assert {result["index"] for result in right.results} == {1, 2}
    assert line.serials() == [1001, 1002, 0, 0]
    assert [line.rig.bits(n, 4) >> 100 & 3 for n in range(2)] == [1, 2]


# Point 5: two runs at once, one waiting at its prompt


def test_a_record_that_two_runs_have_claimed_is_burned_once(line: Line) -> None:
    line.write("m.json", json.dumps({"1": "DIS_PAD_JTAG"}))
    for name in ("x1.json", "x2.json"):
        line.write(name, json.dumps({"1": name}))
    place = line.folder / "at"
    place.mkdir()
    text = (
        "import time\n"
        f"open(os.path.join({str(place)!r}, os.path.basename(args.port)), 'w').close()\n"
        f"while not os.path.exists({str(place / 'go')!r}):\n    time.sleep(0.05)\n"
        "espefuse(esp, efuses, args, 'burn_efuse ' + json.load(args.configfiles[0])[str(args.index)])\n"
    )
    job, m = script(line.folder, "job", text), line.folder / "m.json"
    runs = [
        start(
            *line.words((n,), job), "--json", "--configfiles", m, line.folder / f"x{n + 1}.json",
            state=line.folder / "state",
        )
        for n in range(2)
    ]  # fmt: skip
    deadline = time.monotonic() + 30
    while len(list(place.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (place / "go").write_text("")
    outcomes = [finish(run) for run in runs]
    assert sorted(outcome.words for outcome in outcomes) == [["pass"], ["refused"]], list(map(said, outcomes))
    refused = next(outcome for outcome in outcomes if outcome.exit)
    assert "was given to another chip meanwhile" in error_of(refused)


# Two chips of one product


def test_a_batch_that_shares_with_another_takes_its_records_once_more(line: Line) -> None:
    text = "serial = json.load(args.configfiles[0])[str(args.index)]\n"
    line.write("a.json", json.dumps({"1": 1001, "2": 1002}))
    line.write("b.json", json.dumps({"1": 1001, "2": 1002, "3": 1001}))
    assert line.burn(0, files=("a.json",), text=text, more=("--batch", "main")).exit == 0
    alone = line.burn(1, files=("b.json",), text=text, more=("--batch", "radio"), json_lines=False)
    assert alone.exit == 3, said(alone)
    assert "--shares-with main" in " ".join(said(alone).split())
    for wrong in (("--shares-with", "main"), ("--batch", "radio", "--shares-with", "nobody")):
        assert line.burn(1, files=("b.json",), text=text, more=wrong).exit in (2, 3)
    shared = ("--batch", "radio", "--shares-with", "main")
    first = line.burn(1, files=("b.json",), text=text, more=shared)
    assert first.words == ["pass"], said(first)
    # Declared once, it goes both ways.
    back = line.burn(2, files=("a.json",), text=text, more=("--batch", "main"))
    assert back.words == ["pass"], said(back)
    again = line.burn(3, files=("b.json",), text=text, more=("--batch", "radio"))
    assert again.words == ["pass"], said(again)
    assert line.serials() == [1001, 1001, 1002, 1002]


def test_records_stay_unique_within_a_batch_that_shares_with_another(line: Line) -> None:
    text = "serial = json.load(args.configfiles[0])[str(args.index)]\n"
    line.write("a.json", json.dumps({"1": 1001, "2": 1002}))
    line.write("b.json", json.dumps({"1": 1001, "2": 1001}))
    assert line.burn(0, files=("a.json",), text=text, more=("--batch", "main")).exit == 0
    shared = ("--batch", "radio", "--shares-with", "main")
    assert line.burn(1, files=("b.json",), text=text, more=shared).exit == 0
    twice = line.burn(2, files=("b.json",), text=text, more=shared)
    assert twice.words == ["refused"], said(twice)
    assert line.serials() == [1001, 1001, 0, 0]


def test_import_used_without_a_batch_asks_for_it(line: Line) -> None:
    line.write("serials.json", json.dumps({"1": 1001}))
    text = "serial = json.load(args.configfiles[0])[str(args.index)]\n"
    assert line.burn(0, files=("serials.json",), text=text).exit == 0
    line.write("used.txt", "1-2\n")
    words = ("ledger", "import-used", line.folder / "used.txt", "--why", "the old tool")
    outcome = parburn(*words, state=line.folder / "state")
    assert outcome.exit == 2, said(outcome)
    assert "--batch" in outcome.stderr
    assert "config-" in outcome.stderr
    assert parburn(*words, "--batch", "new", state=line.folder / "state").exit == 0


def test_beside_a_batch_of_which_only_used_indexes_are_known_another_is_begun_by_name_only(
    line: Line,
) -> None:
    text = "serial = json.load(args.configfiles[0])[str(args.index)]\n"
    why = ("--why", "the disk died")
    assert parburn("ledger", "init", *why, state=line.folder / "state").exit == 0
    line.write("used.txt", "1-2\n")
    used = ("ledger", "import-used", line.folder / "used.txt", "--batch", "lamp", *why)
    assert parburn(*used, state=line.folder / "state").exit == 0
    line.write("serials.json", json.dumps({str(n): 1000 + n for n in range(1, 5)}))
    unnamed = line.burn(0, files=("serials.json",), text=text)
    assert unnamed.exit == 3, said(unnamed)
    assert "Of the batch lamp it is known which indexes are used" in said(unnamed)
    assert "--batch lamp" in said(unnamed)
    assert line.serials() == [0, 0, 0, 0]
    assert line.burn(0, files=("serials.json",), text=text, more=("--batch", "lamp")).exit == 0
    assert line.burn(1, files=("serials.json",), text=text).exit == 0  # what a chip carries tells the batch
    assert line.serials() == [1003, 1004, 0, 0]
    line.write("others.json", json.dumps({"1": 2001}))
    assert line.burn(2, files=("others.json",), text=text).exit == 0
    assert line.serials() == [1003, 1004, 2001, 0]


@pytest.mark.parametrize("name", ["serials.csv", "serials.json"])
def test_indexes_that_are_serial_numbers_are_found_without_counting_up_to_them(line: Line, name: str) -> None:
    numbers = [26480001, 26490007, 400000000]
    if name == "serials.csv":
        line.write(name, "serial,note\n" + "".join(f"{one},n{one}\n" for one in reversed(numbers)))
        declared: tuple[str, ...] = ("--records", f"{name}=column:serial")
    else:
        line.write(name, json.dumps({str(one): f"n{one}" for one in numbers}))
        declared = ()
    text = "serial = args.index\nargs.configfiles\n"
    first = line.burn(0, 1, files=(name,), text=text, more=declared)
    assert first.words == ["pass", "pass"], said(first)
    second = line.burn(2, 3, files=(name,), text=text)
    assert second.words == ["pass", "refused"], said(second)
    assert second.exit == 4
    assert line.serials() == [*numbers, 0]


def test_a_part_of_a_file_with_too_few_records_is_told_as_such_and_exit_4(
    tmp_path: Path, state: Path
) -> None:
    """The longer part says how many boards may come, the script asks the shorter one."""
    ids = tmp_path / "ids.json"
    macs = {f"unit{n:03d}": f"02:00:00:00:00:{n:02x}" for n in range(1, 4)}
    ids.write_text(json.dumps({"macs": macs, "serials": {str(n): n for n in range(1, 9)}}))
    text = (
        "mac = json.load(args.configfiles[0])['macs']['unit%03d' % args.index]\n"
        "espefuse(esp, efuses, args, 'burn_custom_mac ' + mac)\n"
    )
    words = ("--scripts", script(tmp_path, "macs", text), "--configfiles", ids, "--do-not-confirm")
    with start_rig("esp32c3", 5, tmp_path) as rig:
        first = parburn("--ports", *rig.ports, *words, "--json", state=state)
        assert first.exit == 4, said(first)
        assert first.words == ["pass"] * 3 + ["refused"] * 2
        assert {one["error"] for one in first.results[3:]} == {
            "No record is left: ids.json has 3, all are used."
        }
        plain = parburn("--ports", *rig.ports, *words, state=state)
        assert "REFUSED: 2 boards: ttyUSB3-4, index 4-5\n" in plain.stdout
        assert "KeyError" not in plain.stdout
        ids.write_text(json.dumps({
            "macs": macs | {f"unit{n:03d}": f"02:00:00:00:00:{n:02x}" for n in (4, 5)},
            "serials": {str(n): n for n in range(1, 9)},
        }))  # fmt: skip
        assert (
            parburn("--ports", *rig.ports, *words, "--json", state=state).words
            == ["already-pass"] * 3 + ["pass"] * 2
        )


def test_a_key_that_is_missing_in_the_middle_is_the_scripts_or_the_files_mistake(
    tmp_path: Path, state: Path
) -> None:
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"macs": {"2": "02:00:00:00:00:02"}, "serials": {"1": 1, "2": 2}}))
    path = script(tmp_path, "macs", "print(json.load(args.configfiles[0])['macs'][str(args.index)])\n")
    with start_rig("esp32c3", 1, tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--configfiles", ids, "--do-not-confirm", "--json",
            state=state,
        )  # fmt: skip
        assert (outcome.exit, outcome.words) == (1, ["failed"])
        assert "KeyError: 1" in outcome.results[0]["error"]
