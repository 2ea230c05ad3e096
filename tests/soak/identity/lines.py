"""A line of a campaign: one batch as its operators use it, files that they edit, a command that they type."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from tests.soak.identity.forms import FORMS, TITLE, Form, rewritten
from tests.soak.identity.product import FIXED_INDEX, People, nesting, script_of

FIRST_STATION = "first.py"


class Line:
    """`who` is the identity whose record stands at each index; None: blanked, or not there."""

    def __init__(
        self, name: str, folder: Path, people: People, who: Sequence[int], *, forms: Sequence[str]
    ) -> None:
        self.name, self.folder, self.people = name, folder, people
        self.who: list[int | None] = list(who)
        folder.mkdir()
        columns = people.product.columns
        cut = max(1, len(columns) - 2) if len(forms) > 1 else len(columns)
        parts = [columns[:cut], (*columns[cut:-1], "note")] if len(forms) > 1 else [columns]
        self.files: list[tuple[Path, Form, tuple[str, ...]]] = [
            (folder / f"{'ids' if n == 0 else 'more'}.{FORMS[form].ending}", FORMS[form], part)
            for n, (form, part) in enumerate(zip(forms, parts, strict=True))
        ]
        self.table, self.script = folder / "table.csv", folder / "job.py"
        self.write_scripts()
        self.write_files()

    @property
    def needs_telling(self) -> bool:
        """Whether its forms must be declared."""
        return any(form.declared for _, form, _ in self.files)

    @property
    def blanks(self) -> bool:
        """Whether an index can be left without a record in all of its files."""
        return all(form.blanks for _, form, _ in self.files)

    def write_scripts(self) -> None:
        """The table, the script, and the one that runs it."""
        product = self.people.product
        self.table.write_text(product.table() or "# none\n")
        reads = [
            (path.name, form.read.replace("columns", repr(columns))) for path, form, columns in self.files
        ]
        text = script_of(product, self.people.folder, reads)
        (self.people.folder / "saved").mkdir(exist_ok=True)
        if product.nested:
            (self.folder / "inner.py").write_text(text)
            index = str(FIXED_INDEX) if product.nested == "fixed" else "args.index"
            text = nesting(str(self.folder / "inner.py"), index)
        self.script.write_text(text)
        first = script_of(product.first_part, self.people.folder, reads)
        self.script.with_name(FIRST_STATION).write_text(first)

    def edit_script(self) -> None:
        """Somebody edits a comment."""
        self.script.write_text(self.script.read_text() + "# a comment\n")

    def write_files(self, how: str = "") -> None:
        """Its files as `who` says. `how`: written in another way, with the same meaning."""
        rows = []
        for who in self.who:
            if who is not None:
                self.people.write_files(who)
            rows.append(None if who is None else {TITLE: f"unit-{who}-", **(self.people.row(who) or {})})
        if how == "capitals":
            for row in rows:
                if row and "mac" in row:
                    row["mac"] = row["mac"].upper()
        for path, form, columns in self.files:
            names = (TITLE, *columns) if form.titled else columns
            part = [None if row is None else {name: row[name] for name in names} for row in rows]
            path.write_bytes(rewritten(form.write(part), how, form).encode())

    def command(
        self, ports: Sequence[str], ledger: Path, *, declares: bool, rng: random.Random, asking: bool = False
    ) -> list[str]:
        """What an operator types. `declares`: forms and values are told (once, the batch remembers them)."""
        words = ["--json", "--ledger", str(ledger), *([] if asking else ["--do-not-confirm"])]
        words += [] if ledger.exists() else ["--new-ledger"]
        return [*words, *self._inputs(ports, declares=declares, rng=rng)]

    def rebuild(self, ports: Sequence[str], *, rng: random.Random) -> list[str]:
        """What an operator types whose ledger is lost."""
        return ["rebuild", *self._inputs(ports, declares=True, rng=rng), "--allow-side-effects"]

    def _inputs(self, ports: Sequence[str], *, declares: bool, rng: random.Random) -> list[str]:
        files = [str(path) for path, _, _ in self.files]
        rng.shuffle(files)
        words = ["--ports", *ports, "--scripts", str(self.script), "--configfiles", *files]
        words += ["--extend-efuse-table", str(self.table)] if self.people.product.table() else []
        words += ["--batch", self.name] if self.name else []
        if declares:
            told = [f"{path.name}={form.declared}" for path, form, _ in self.files if form.declared]
            words += ["--records", *told] if told else []
            words += self.people.product.options()
        return words
