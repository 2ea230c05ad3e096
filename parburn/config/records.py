"""All config files of a run as records: what they say for each index, and what they say for all. Pure.

Each file has a form (`forms`): declared, remembered by its batch, or its own. A file without one has no
records yet; whether that may be is for the caller to say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import islice, permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from parburn.config.files import ConfigFile, read_file
from parburn.config.forms import (
    COLUMN,
    FORMS,
    NAMES,
    NONE,
    Records,
    data_of,
    declared_records,
    fitting,
    named_records,
)
from parburn.config.meaning import FORM, digest_of, digests_of, shown
from parburn.errors import ParburnError, RecordsUndeclared, UsageError

_SMALL = 1 << 20  # bytes up to which shared data are compared by meaning; larger ones without their spaces
_SPACES = b" \t\r\n"
_FILES_IN_ANY_ORDER = 6  # 720 orders: a millisecond for a board that has passed another job only
_AT_ONCE = 4096  # records that are compared at one go
_KEPT_AT_MOST = 1024  # indexes whose digests are kept: a run has fewer boards, and a file may have millions


class _Said(NamedTuple):
    """One file in its form."""

    name: str
    form: str  # empty: not known
    file: ConfigFile
    records: Records | None


class ConfigFiles:
    """All config files of a run, in the order of the command line. Nothing in it is ever changed.

    `declared` has the form of a file by its name, where one was said; see `parburn.config.forms`.
    """

    def __init__(
        self, files: tuple[ConfigFile, ...] = (), declared: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.files = files
        self.declared = declared

    # Which files ---------------------------------------------------------------------------------------

    @cached_property
    def digest(self) -> str:
        """The digest of all contents, in any order; empty without files. Their names do not count."""
        return _joined_digest(sorted(one.digest for one in self.files))

    @cached_property
    def old_digest(self) -> str:
        """The digest that older ledgers have: in the order of the command line."""
        return _joined_digest([one.digest for one in self.files])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """How each file is known to its batch: its name, or its path where two have one name.

        A ledger keeps it as text: what is no text in it is written out as its code.
        """
        plain = [one.path.name for one in self.files]
        known = (
            str(one.path) if plain.count(name) > 1 else name
            for name, one in zip(plain, self.files, strict=True)
        )
        return tuple(name.encode("utf-8", "backslashreplace").decode("utf-8") for name in known)

    @cached_property
    def forms(self) -> dict[str, str]:
        """The form of each file by its name; empty for one that is not known."""
        return {one.name: one.form for one in self._said}

    def read_as(self, forms: Mapping[str, str]) -> ConfigFiles:
        """Return the same files with these forms, where none was declared.

        Raises:
            UsageError: a file has no records of that form; it is raised once they are asked for.
        """
        missing = {name: form for name, form in forms.items() if form and name in self.names}
        if not missing.keys() - self.declared.keys():
            return self
        return ConfigFiles(self.files, {**missing, **self.declared})

    def all_shared(self) -> ConfigFiles:
        """Return the same files without any record: no script uses the index."""
        return ConfigFiles(self.files, dict.fromkeys(self.names, NONE))

    @cached_property
    def _said(self) -> tuple[_Said, ...]:
        found = []
        for name, file in zip(self.names, self.files, strict=True):
            form = self.declared.get(name, NAMES)
            records = _records(file, form)
            found.append(_Said(name, "" if form == NAMES and records is None else form, file, records))
        return tuple(found)

    @cached_property
    def _record_files(self) -> tuple[_Said, ...]:
        return tuple(one for one in self._said if one.records is not None)

    # What they say -------------------------------------------------------------------------------------

    @cached_property
    def _digests(self) -> Callable[[int], tuple[str, ...]]:
        """The digest of what each file says for an index; empty where it says nothing.

        They are asked for at each claim, attempt and pass, so those of the boards at work are kept.
        """
        said = self._said

        @lru_cache(_KEPT_AT_MOST)
        def digests(index: int) -> tuple[str, ...]:
            return tuple([_digest(one, index) if one.records is not None else "" for one in said])

        return digests

    @cached_property
    def _old_digests(self) -> Callable[[int], str]:
        files = self.files

        @lru_cache(_KEPT_AT_MOST)
        def digests(index: int) -> str:
            return " ".join(
                hashlib.sha256(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
                for file in files
                if (entry := _old_entry(file, index)) is not None
            )

        return digests

    def entries(self, index: int) -> str:
        """Return the digests of what each file says for an index, joined by spaces; empty without any."""
        return " ".join(filter(None, self._digests(index)))

    def old_entries(self, index: int) -> str:
        """Return the same in the form of older ledgers: of parsed JSON, not of its meaning."""
        return self._old_digests(index)

    def first_missing(self, carried: Iterable[tuple[int, str]]) -> tuple[int, str] | None:
        """Return the first of these (index, digest) that no file says for its index. In order of index."""
        rows, files = iter(carried), self._record_files
        while some := list(islice(rows, _AT_ONCE)):
            said = [
                digests_of([one.records.get(index) for index, _ in some])
                for one in files
                if one.records is not None
            ]
            if len(said) == 1 and said[0] == [digest for _, digest in some]:  # nearly all of a million
                continue
            for (index, digest), *ours in zip(some, *said, strict=True):
                if digest not in ours and self._is_missing(index, digest):
                    return index, digest
        return None

    def _is_missing(self, index: int, digest: str) -> bool:
        """Tell whether no file says a digest, which none has for its index by itself.

        It may be of several files together, or in the form of older ledgers.
        """
        if " " in digest:  # joined ones are made of the others
            return False
        return digest.startswith(FORM) or digest not in self.old_entries(index).split()

    @property
    def has_records(self) -> bool:
        """Whether any file holds records."""
        return bool(self._record_files)

    @cached_property
    def last(self) -> int:
        """The highest index that may have a record."""
        return max((one.records.last for one in self._record_files if one.records is not None), default=0)

    def next_after(self, index: int) -> int:
        """Return the lowest index above `index` that may have a record; `index` is below `last`.

        Files that are indexed by serial numbers begin at a million: nobody counts up to it.
        """
        found = (one.records.next_after(index) for one in self._record_files if one.records is not None)
        return min(number for number in found if number is not None)

    def counts(self) -> str:
        """Return how many records there are, as `ids.json has 5`."""
        return ", ".join(f"{one.name} has {one.records.count}" for one in self._record_files if one.records)

    @cached_property
    def shared(self) -> dict[str, str]:
        """The digest of what each file says for all indexes; empty where it says nothing for all."""
        return {one.name: _shared(one) for one in self._said}

    def of_job(self, index: int) -> str:
        """Return what the files say for a unit, its record and what is shared: another text is another job.

        In which order the files are named does not count.
        """
        return " ".join(sorted(self._of_job(index)))

    def as_passed_before(self, index: int) -> Iterator[str]:
        """Yield the texts that ledgers may know this job by which were written while the order counted.

        Each is in the form of today, and in that of before records were compared by meaning.
        """
        yield from _in_any_order(self._of_job(index))
        yield from _in_any_order(self.old_entries(index).split())

    def _of_job(self, index: int) -> list[str]:
        shared = self.shared
        return [
            f"{digest}|{shared[one.name]}"
            for one, digest in zip(self._said, self._digests(index), strict=True)
        ]

    # What is to be declared ----------------------------------------------------------------------------

    @cached_property
    def undeclared(self) -> tuple[str, ...]:
        """The names of files of unknown form whose records must be declared; not those that are empty."""
        return tuple(one.name for one in self._said if _is_open(one))

    def undeclared_error(self) -> RecordsUndeclared:
        """Return the refusal that tells how to declare the records, and what that would mean."""
        open_ones = [one for one in self._said if _is_open(one)]
        does = "does not name its" if len(open_ones) == 1 else "do not name their"
        ways = [
            f"--records {one.name}={form}{_example(one, form)}"
            for one in open_ones
            for form in fitting(one.file)
        ]
        return RecordsUndeclared(
            f"{' and '.join(one.name for one in open_ones)} {does} indexes, and the scripts use args.index: "
            "how the records lie must be said once",
            hint=f"{'; '.join(ways)}. The batch remembers it. Nothing was opened.",
        )


def load_config_files(paths: Iterable[Path], declared: Iterable[str] = ()) -> ConfigFiles:
    """Read and parse config files.

    Args:
        declared: the `FILE=FORM` of `--records`.

    Raises:
        UsageError: a file cannot be read (see `read_file`), a declaration does not fit, or one index is in
            a file twice.
    """
    files = ConfigFiles(tuple(read_file(Path(path)) for path in paths))
    declared = tuple(declared)
    if declared:
        files = ConfigFiles(files.files, dict(_declaration(files, text) for text in declared))
    assert files.forms is not None  # reads the records now: what is wrong with them is said at once
    return files


def _declaration(files: ConfigFiles, text: str) -> tuple[str, str]:
    wanted, _, form = text.rpartition("=")
    if form not in FORMS and not (form.startswith(COLUMN) and form != COLUMN):
        raise UsageError(f"--records {text}: {form!r} is not a form", hint=f"Forms are {', '.join(FORMS)}.")
    found = [
        name
        for name, file in zip(files.names, files.files, strict=True)
        if wanted in (name, str(file.path), file.path.name)
    ]
    if len(found) != 1:
        hint = f"Config files are {', '.join(files.names) or 'none'}."
        what = "names more than one" if found else "is none"
        raise UsageError(f"--records {text}: {wanted!r} {what} of the config files", hint=hint)
    return found[0], form


def _records(file: ConfigFile, form: str) -> Records | None:
    """Return a file's records in a form, found out once."""
    known: dict[str, Records | None] = file.__dict__.setdefault("_records", {})
    if form not in known:
        known[form] = named_records(file) if form == NAMES else declared_records(file, form)
    return known[form]


def _is_open(one: _Said) -> bool:
    return not one.form and data_of(one.file) not in ({}, [])


def _digest(one: _Said, index: int) -> str:
    assert one.records is not None
    return digest_of(one.records.get(index))


def _shared(one: _Said) -> str:
    if one.records is not None:
        return digest_of(one.records.beside())
    data = data_of(one.file) if len(one.file.content) <= _SMALL else None
    if data is not None:
        return digest_of(data)
    words = one.file.content.translate(None, _SPACES)
    return f"{FORM}{blake2b(words, digest_size=16).hexdigest()}"


def _example(one: _Said, form: str) -> str:
    """Return what a form would mean, in brackets."""
    if form == NONE:
        return " (it is shared data)"
    if form.startswith(COLUMN):
        return " (the column that holds the index)"
    try:
        records = _records(one.file, form)
    except ParburnError as error:
        return f" ({error})"
    assert records is not None
    index = next((n for n in range(1, min(records.last, 100) + 1) if records.get(n) is not None), 0)
    if not index:
        return ""
    return f" ({one.name}{records.where(index)} is index {index}: {shown(records.get(index))})"


def _in_any_order(texts: Sequence[str]) -> Iterator[str]:
    """Return these texts joined in every order; many only in this one: there are too many orders."""
    orders = permutations(texts) if len(texts) <= _FILES_IN_ANY_ORDER else (texts,)
    return (" ".join(order) for order in orders)


def _joined_digest(digests: list[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest() if digests else ""


def _old_entry(file: ConfigFile, index: int) -> Any:
    """Return the entry under the key `str(index)`: at the top, or one level below."""
    if type(file.value) is not dict:
        return None
    key = str(index)
    if key in file.value:
        return file.value[key]
    tables = file.__dict__.get("_old_tables")
    if tables is None:
        tables = [(name, inner) for name, inner in file.value.items() if type(inner) is dict]
        file.__dict__["_old_tables"] = tables
    return {name: inner[key] for name, inner in tables if key in inner} or None
