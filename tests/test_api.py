"""parburn as a library: what `import parburn` gives, and what it leaves behind in its host process."""

from __future__ import annotations

import ast
import asyncio
import builtins
import gc
import importlib
import inspect
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sized
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import pytest

import parburn
from parburn import Job, Result, Script
from parburn.cli import parser
from parburn.job import AFTER_MODES, BEFORE_MODES
from parburn.script import config, inputs

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "api.md"


def mac_script(version: str = "1", then: Callable[[], object] = int) -> Script:
    """A function that burns a MAC by its index, and then does something else."""

    def burn_mac(esp: Any, efuses: Any, args: Any, espefuse: Any) -> None:
        espefuse(f"burn_custom_mac 02:00:00:00:00:{args.index:02x}")
        then()

    return Script("mac", version, burn_mac)


def one(script: Script | Path) -> tuple[Script | Path, ...]:
    return (script,)


@pytest.fixture
def ports() -> Iterator[tuple[str, ...]]:
    """Two simulated boards."""
    with parburn.simulated_boards({"esp32c3": 2}) as boards:
        yield boards.ports


# Names ------------------------------------------------------------------------------------------------


def test_the_names_for_type_checkers_are_those_that_are_loaded() -> None:
    tree = ast.parse(Path(str(parburn.__file__)).read_text())
    typed = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "importlib"
    }
    assert typed.keys() | {"__version__"} == {*parburn.__all__}
    for name, module in typed.items():
        assert getattr(parburn, name) is getattr(importlib.import_module(str(module)), name)


def test_all_errors_and_events_are_public() -> None:
    for module in ("parburn.errors", "parburn.events"):
        for name, value in vars(importlib.import_module(module)).items():
            if inspect.isclass(value) and value.__module__ == module:
                assert name in parburn.__all__


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, parburn\n"
        "print([name for name in sys.modules if name.startswith(('parburn.', 'typing', 'asyncio'))])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stdout == "[]\n"


def test_what_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fleet_of'"):
        parburn.fleet_of  # type: ignore[attr-defined]  # noqa: B018
    assert "burn_async" in dir(parburn)


def test_modes_are_those_of_the_command() -> None:
    assert {*BEFORE_MODES} == {*parser.BEFORE_MODES}
    assert {*AFTER_MODES} == {*parser.AFTER_MODES}


def test_the_program_in_the_document_burns_two_boards(tmp_path: Path) -> None:
    program = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)[0]
    assert len(program.strip().splitlines()) <= 20
    (tmp_path / "program.py").write_text(program)
    for answer, word in (("no", "refused"), ("yes", "pass")):
        done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, input=f"{answer}\n", text=True,
                              capture_output=True, timeout=60, check=True)  # fmt: skip
        ended = re.findall(r"([0-9a-f:]{17}) ([12]) (\S+)", done.stdout)
        assert [(index, result) for _, index, result in ended] == [("1", word), ("2", word)], done.stdout


def test_the_document_names_what_is_public_only() -> None:
    named = set(re.findall(r"`([A-Z][A-Za-z]+|burn|burn_async)[`(]", DOCS.read_text()))
    others = {"PASS", "FAILED", "REFUSED", "INCOMPLETE", "QUARANTINED", "KeyboardInterrupt", "CancelledError",
              "TypeError", "True", "False"}  # fmt: skip
    assert named - others <= {*parburn.__all__}
    assert {"burn", "burn_async", "Job", "Script", "DeviceReport", "Result"} <= named


# Burning ----------------------------------------------------------------------------------------------


def test_a_function_burns_and_tells(ports: tuple[str, ...]) -> None:
    events: list[parburn.Event] = []
    job = Job(
        ports=ports, scripts=one(mac_script(then=lambda: sys.stdout.write("hello\n"))), do_not_confirm=True
    )
    reports = parburn.burn(job, on_event=events.append)
    assert [report.result for report in reports] == [Result.PASS] * 2
    assert [report.port for report in reports] == [*ports]
    assert [report.unique_values["CUSTOM_MAC"] for report in reports] == [
        "02:00:00:00:00:01",
        "02:00:00:00:00:02",
    ]
    assert all("hello\n" in report.output for report in reports)
    assert isinstance(events[0], parburn.LedgerOpened)
    assert isinstance(events[1], parburn.RunStarted)
    assert {event.port for event in events if isinstance(event, parburn.Finished)} == {*ports}


def test_a_text_and_a_file_of_one_content_are_one_job(ports: tuple[str, ...], tmp_path: Path) -> None:
    text = "print(__file__)\nespefuse('burn_custom_mac 02:00:00:00:00:0%d' % args.index)\n"
    path = tmp_path / "burn.py"
    path.write_text(text)
    job = Job(ports=ports, ledger=tmp_path / "ledger", new_ledger=True, do_not_confirm=True)
    first = parburn.burn(job._replace(scripts=one(Script.of_text(text))))
    again = parburn.burn(job._replace(scripts=one(path), new_ledger=False))
    assert [report.result for report in (*first, *again)] == [Result.PASS] * 2 + [Result.ALREADY_PASS] * 2
    assert "<script>" in first[0].output
    assert again[0].output == ""  # it did not run


def test_a_function_of_another_version_runs_again(ports: tuple[str, ...], tmp_path: Path) -> None:
    ran: list[str] = []
    job = Job(ports=ports[:1], ledger=tmp_path / "ledger", do_not_confirm=True)
    for version in ("1", "1", "2"):
        script = mac_script(version, lambda version=version: ran.append(version))  # type: ignore[misc]
        (report,) = parburn.burn(job._replace(scripts=one(script), new_ledger=not ran))
        assert report.result.passed
    assert ran == ["1", "2"]


def test_a_function_that_fails_is_told_as_a_script(ports: tuple[str, ...]) -> None:
    def failing(esp: Any, efuses: Any, args: Any, espefuse: Any) -> None:
        try:
            espefuse.burn_key("BLOCK_KEY0", bytes(range(16)), "NO_SUCH_PURPOSE")
        except Exception:
            raise ValueError("no key 000102030405060708090a0b0c0d0e0f") from None

    (report,) = parburn.burn(Job(ports[:1], one(Script("bad", "1", failing)), debug=True))
    line = failing.__code__.co_firstlineno + 4
    assert report.result is Result.FAILED
    assert report.error == f"{__file__}:{line}: ValueError: no key ??"
    assert "raise ValueError" in report.traceback_text
    assert "parburn/script" not in report.traceback_text
    assert "000102" not in repr(report)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (lambda: input("whose?"), "input\\(\\) is refused"),
        (lambda: os.chdir("/"), "os.chdir is refused"),
        (lambda: sys.exit(0), "called exit"),
    ],
)
def test_what_a_script_may_not_a_function_may_not(
    ports: tuple[str, ...], does: Callable[[], object], says: str
) -> None:
    (report,) = parburn.burn(Job(ports[:1], one(mac_script(then=does)), do_not_confirm=True))
    assert report.result is Result.FAILED
    assert re.search(says, report.error)
    assert report.burned == "nothing was burned"


def test_functions_that_run_nothing_are_refused() -> None:
    async def later(esp: Any, efuses: Any, args: Any, espefuse: Any) -> None: ...

    def each(esp: Any, efuses: Any, args: Any, espefuse: Any) -> Iterator[None]:
        yield

    for function in (later, each):
        with pytest.raises(parburn.UsageError, match="runs nothing of it"):
            parburn.burn(Job(("/dev/null",), one(Script("late", "1", function))))


def test_a_function_that_returns_a_coroutine_fails(ports: tuple[str, ...]) -> None:
    async def later() -> None: ...

    made: list[Any] = []

    def gives_one(esp: Any, efuses: Any, args: Any, espefuse: Any) -> object:
        made.append(later())
        return made[0]

    (report,) = parburn.burn(Job(ports[:1], one(Script("late", "1", gives_one))))
    made[0].close()
    assert report.result is Result.FAILED
    assert "nothing of it has run" in report.error


@pytest.mark.parametrize(
    ("scripts", "says"),
    [
        ((Script("", "1", print),), "printable"),
        ((Script("x", "", lambda *_: None),), "neither a text nor a function with a version"),
        ((Script("x", "1", len),), "written in Python"),
        ((Script.of_text("a = (\n"),), "<script>:1:"),
        ((Script.of_text("a"), Script.of_text("b")), "one name"),
        ((Path("nowhere.py"),), "cannot be read"),
        ((), "scripts or commands"),
        ("burn.py", "several"),
    ],
)
def test_scripts_that_are_none_are_refused(scripts: Any, says: str) -> None:
    with pytest.raises(parburn.UsageError, match=says):
        parburn.burn(Job(("/dev/null",), scripts))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ports": ()},
        {"ports": "/dev/ttyUSB0"},
        {"index_first": 0},
        {"index_first": 5, "index_last": 4},
        {"expect": 2},
        {"before": "reset"},
        {"after": "reset"},
        {"baud": 1},
        {"connect_attempts": 0},
        {"wait_s": 0},
        {"max_burning": 0},
        {"script_timeout_s": 0},
        {"batch": " "},
        {"shares_with": "a"},
        {"overrides": frozenset({"all"})},
        {"report": Path("r.csv")},
        {"simulated": True},
        {"ports": ("socket://nowhere",)},
    ],
)
def test_a_job_that_is_wrong_is_refused(wrong: dict[str, Any]) -> None:
    job = Job(("/dev/null",), one(mac_script()), do_not_confirm=True)
    with pytest.raises(parburn.UsageError):
        parburn.burn(job._replace(**wrong))


def test_real_ports_need_a_ledger_made_on_purpose(tmp_path: Path) -> None:
    with pytest.raises(parburn.LedgerUnusable, match="no ledger"):
        parburn.burn(Job(("/dev/null",), one(mac_script()), ledger=tmp_path / "ledger"))
    assert not (tmp_path / "ledger").exists()


def test_simulated_boards_are_of_known_chips() -> None:
    with pytest.raises(parburn.UnknownName):
        parburn.simulated_boards({"esp99": 1})
    for boards in ({"esp32": 0}, {}, {"esp32": 300}):
        with pytest.raises(parburn.UsageError):
            parburn.simulated_boards(boards)


# Confirmation -----------------------------------------------------------------------------------------


def test_without_confirm_nothing_is_burned(ports: tuple[str, ...]) -> None:
    reports = parburn.burn(Job(ports, one(mac_script())))
    assert {report.result for report in reports} == {Result.REFUSED}
    assert {report.error_kind for report in reports} == {"NotConfirmed"}
    assert {report.burned for report in reports} == {"nothing was burned"}
    assert "do_not_confirm" in reports[0].error


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_confirm_is_asked_once_and_its_answer_holds(ports: tuple[str, ...], one_at_a_time: bool) -> None:
    asked: list[tuple[parburn.PlanOfBoard, ...]] = []
    job = Job(ports, one(mac_script()), one_at_a_time=one_at_a_time)

    def answer(plans: tuple[parburn.PlanOfBoard, ...]) -> bool:
        asked.append(plans)
        assert threading.current_thread() is not threading.main_thread()
        return len(asked) > 1

    assert {report.error_kind for report in parburn.burn(job, confirm=answer)} == {"NotConfirmed"}
    assert {report.result for report in parburn.burn(job, confirm=answer)} == {Result.PASS}
    assert [len(plans) for plans in asked] == [1 if one_at_a_time else 2] * 2


def test_confirm_may_be_a_coroutine(ports: tuple[str, ...]) -> None:
    async def answer(plans: tuple[parburn.PlanOfBoard, ...]) -> bool:
        await asyncio.sleep(0.01)
        return True

    assert {report.result for report in parburn.burn(Job(ports, one(mac_script())), confirm=answer)} == {
        Result.PASS
    }


def test_what_confirm_raises_comes_out_and_nothing_is_burned(ports: tuple[str, ...]) -> None:
    def answer(plans: tuple[parburn.PlanOfBoard, ...]) -> bool:
        raise LookupError("no such order")

    ended: list[parburn.DeviceReport] = []

    def keep(event: parburn.Event) -> None:
        if isinstance(event, parburn.Finished):
            ended.append(event.report)

    with pytest.raises(LookupError, match="no such order"):
        parburn.burn(Job(ports, one(mac_script())), confirm=answer, on_event=keep)
    assert {report.burned for report in ended} == {"nothing was burned"}
    with pytest.raises(TypeError, match="True or False, not NoneType"):
        parburn.burn(Job(ports, one(mac_script())), confirm=lambda plans: None)  # type: ignore[arg-type, return-value]


def test_an_observer_that_raises_harms_nothing(
    ports: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[parburn.Event] = []

    def fragile(event: parburn.Event) -> None:
        seen.append(event)
        raise RuntimeError("no screen")

    reports = parburn.burn(Job(ports, one(mac_script()), do_not_confirm=True), on_event=fragile)
    assert {report.result for report in reports} == {Result.PASS}
    assert len(seen) == 1
    assert [record.message for record in caplog.records] == [
        "on_event raised: it gets no more events of this run"
    ]


# Loop and threads -------------------------------------------------------------------------------------


def test_burn_in_a_running_loop_says_what_to_do() -> None:
    async def host() -> None:
        parburn.burn(Job(("/dev/null",), one(mac_script())))

    with pytest.raises(parburn.UsageError, match="event loop runs already") as raised:
        asyncio.run(host())
    assert "await parburn.burn_async" in raised.value.hint


def test_burn_async_needs_asyncio() -> None:
    coroutine = parburn.burn_async(Job(("/dev/null",), one(mac_script())))
    with pytest.raises(parburn.UsageError, match="asyncio"):
        coroutine.send(None)


def test_two_runs_at_once_share_a_ledger(ports: tuple[str, ...], tmp_path: Path) -> None:
    parburn.burn(
        Job(ports[:1], one(mac_script()), ledger=tmp_path / "ledger", new_ledger=True, dry_run=False,
            do_not_confirm=True, batch="b")
    )  # fmt: skip
    job = Job((), one(mac_script("2")), ledger=tmp_path / "ledger", do_not_confirm=True, batch="b")

    async def host() -> list[parburn.DeviceReport]:
        runs = [parburn.burn_async(job._replace(ports=(port,))) for port in ports]
        return [reports[0] for reports in await asyncio.gather(*runs)]

    reports = asyncio.run(host())
    assert [report.index for report in reports] == [1, 2]
    assert all(report.result.passed for report in reports), reports


WAITS = "import time\nfor _ in range(3000):\n    time.sleep(0.01)\n"


def stopped_host(
    ports: tuple[str, ...], ended: list[parburn.DeviceReport], how: Callable[[asyncio.Task[Any]], object]
) -> Callable[[], Any]:
    """A host that stops its run as soon as the first block is burned."""

    async def host() -> None:
        loop = asyncio.get_running_loop()

        def see(event: parburn.Event) -> None:
            if isinstance(event, parburn.BlockBurned) and not ended:
                loop.call_soon(how, task)
            elif isinstance(event, parburn.Finished):
                ended.append(event.report)

        text = "espefuse('burn_bit BLOCK_USR_DATA 1')\nefuses.burn_all()\n" + WAITS
        job = Job(ports[:1], one(Script.of_text(text)), do_not_confirm=True)
        task = asyncio.ensure_future(parburn.burn_async(job, on_event=see))
        await task

    return host


def test_a_cancelled_run_records_before_it_ends(ports: tuple[str, ...]) -> None:
    ended: list[parburn.DeviceReport] = []
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped_host(ports, ended, lambda task: task.cancel())())
    assert [report.error_kind for report in ended] == ["Interrupted"]
    assert ended[0].result is Result.INCOMPLETE


def test_a_timeout_of_anyio_stops_a_run_once(ports: tuple[str, ...]) -> None:
    ended: list[parburn.Event] = []

    async def host() -> None:
        with anyio.move_on_after(0.5) as scope:
            await parburn.burn_async(
                Job(ports[:1], one(Script.of_text(WAITS))),
                on_event=lambda event: ended.append(event) if isinstance(event, parburn.Finished) else None,
            )
        assert scope.cancelled_caught
        assert len(ended) == 1

    asyncio.run(host())


INTERRUPTED = """
import os, signal, sys
import parburn

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start programs in the background without

def ask(plans):
    os.kill(os.getpid(), signal.SIGINT)
    import time
    time.sleep(60)
    return True

ended = []
with parburn.simulated_boards({"esp32c3": 1}) as boards:
    script = parburn.Script.of_text("espefuse('burn_bit BLOCK_USR_DATA 1')")
    try:
        parburn.burn(parburn.Job(boards.ports, (script,)), confirm=ask, on_event=ended.append)
    except KeyboardInterrupt:
        report = ended[-1].report
        print(report.error_kind, report.burned, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_ends_the_run_and_then_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=40, check=False
    )
    assert done.stdout == "Interrupted nothing was burned True\n", done.stderr


# What is left behind ----------------------------------------------------------------------------------


def process_settled(before: dict[str, Any]) -> dict[str, Any]:
    """The process, once the last threads have come to their ends; after a second whatever it is."""
    deadline = time.monotonic() + 1.0
    while (now := process_now()) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    return now


def process_now() -> dict[str, Any]:
    """What a run could have changed in this process."""
    return {
        "stdout": sys.stdout,
        "stderr": sys.stderr,
        "chdir": os.chdir,
        "start": threading.Thread.start,
        "input": builtins.input,
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "folder": Path.cwd(),
        "hook": threading.excepthook,
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


def test_the_process_is_as_it_was(ports: tuple[str, ...]) -> None:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = process_now()
    with redirect_stdout(StringIO()) as said:
        during: list[bool] = []

        def look(esp: Any, efuses: Any, args: Any, espefuse: Any) -> None:
            during.append(sys.stdout is said)

        parburn.burn(Job(ports, one(Script("look", "1", look))))
        assert sys.stdout is said
    assert during == [False, False]
    assert said.getvalue() == ""
    assert process_settled(before) == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limit


def test_a_collector_that_is_off_stays_off(ports: tuple[str, ...]) -> None:
    gc.disable()
    try:
        parburn.burn(Job(ports[:1], one(mac_script())))
        assert not gc.isenabled()
        assert gc.get_freeze_count() == 0
    finally:
        gc.enable()


class Days:
    """A host that runs one job after the other: no two alike, and not all of them go well."""

    def __init__(self, ports: tuple[str, ...], folder: Path) -> None:
        self.ports = ports
        self.folder = folder
        self.ran: list[int] = []

    def run(self, number: int) -> None:
        """One job: a passing one, one that fails, one that is not confirmed."""
        ids, key = self.folder / f"ids{number}.json", self.folder / f"key{number}.bin"
        ids.write_text(json.dumps({"job": number, "1": {"mac": "02:00:00:00:00:01"}}))
        key.write_bytes(bytes([number]) * 32)

        def burn_mac(esp: Any, efuses: Any, args: Any, espefuse: Any) -> None:
            self.ran.append(number)
            key.read_bytes()
            espefuse(f"burn_custom_mac {json.load(args.configfiles[0])['1']['mac']}")
            if number % 3 == 1:
                raise ValueError(number)
            if number % 3 == 2:
                espefuse(f"burn_bit BLOCK_USR_DATA {number}")

        text = "import json\nassert json.loads(args.configfiles[0].read())['1']\n"
        job = Job(
            self.ports[:1],
            (Script("mac", str(number), burn_mac), Script.of_text(text)),
            config_files=(ids,),
            tables=(parburn.TableOption(None, ROOT / "examples" / "unique_id.csv"),),
            ledger=self.folder / "ledger",
            new_ledger=number == 0,
            batch="b",
            do_not_confirm=number % 3 != 2,
            overrides=frozenset({"allow-changed-config", "allow-shared-records"}),
        )
        (report,) = parburn.burn(job, on_event=lambda event: None)
        expected = (Result.PASS, Result.FAILED, Result.REFUSED)[number % 3]
        assert report.result is expected or report.result is Result.ALREADY_PASS, report


def objects_now() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())


def modules_of_parburn() -> list[Any]:
    names = [info.name for info in pkgutil.walk_packages(parburn.__path__, "parburn.")]
    return [sys.modules[name] for name in names if name in sys.modules]


def kept_by_modules() -> dict[str, int]:
    """The sizes of all that modules of ours keep."""
    return {
        f"{module.__name__}.{name}": len(value)
        for module in modules_of_parburn()
        for name, value in vars(module).items()
        if isinstance(value, Sized) and hasattr(value, "__iter__") and not isinstance(value, type | str)
    }


def test_a_process_that_burns_for_days_does_not_grow(
    ports: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_KNOWN_AT_MOST", 2)
    host = Days(ports, tmp_path)
    for number in range(6):
        host.run(number)
    kept_by_modules()  # imports packages of ours that nobody had asked for
    before = objects_now(), kept_by_modules(), process_now()
    for number in range(6, 24):
        host.run(number)
    process_settled(before[2])
    after = objects_now(), kept_by_modules(), process_now()
    assert host.ran == [*range(24)]
    grown = {name: count - before[0][name] for name, count in after[0].items() if count > before[0][name]}
    grown.pop("builtins.list", None)
    assert sum(grown.values()) < 18, grown  # less than one a job
    assert not {name for name in grown if name.startswith(("parburn.", "asyncio.", "anyio."))}, grown
    assert after[1:] == before[1:]
    assert len(config._WHOLE_TEXTS) == 0


def test_no_cache_of_ours_is_without_end() -> None:
    found = 0
    for module in modules_of_parburn():
        for owner in (module, *(value for value in vars(module).values() if inspect.isclass(value))):
            for name, value in vars(owner).items():
                value = getattr(value, "__func__", value)
                if hasattr(value, "cache_parameters"):
                    found += 1
                    takes = inspect.signature(value).parameters
                    assert value.cache_parameters()["maxsize"] or not takes, f"{module.__name__}.{name}"
    assert found > 20
