"""A file of the job that changes is told while the station goes on, and no more when it is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from parburn.station.changed_files import told_changed, watch_files


def test_a_change_is_an_amber_mark(tmp_path: Path) -> None:
    files = [tmp_path / "burn.py", tmp_path / "ids.json"]
    for one in files:
        one.write_text("1")
    told: list[str] = []

    async def run() -> None:
        watching = asyncio.ensure_future(
            watch_files(lambda kind, sentence: told.append(sentence), files, every_s=0.02)
        )
        await asyncio.sleep(0.2)
        assert set(told) == {""}
        await asyncio.to_thread(files[1].write_text, "12")
        await asyncio.sleep(0.2)
        assert told[-1].startswith("ids.json was changed")
        await asyncio.to_thread(files[0].unlink)
        await asyncio.sleep(0.2)
        assert told[-1].startswith("burn.py, ids.json were changed")
        watching.cancel()

    asyncio.run(run())


def test_many_files_are_few_words() -> None:
    assert told_changed([]) == ""
    assert "a, b, c and 2 more were changed" in told_changed([Path(name) for name in "abcde"])
