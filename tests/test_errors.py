"""What errors say of each other."""

from __future__ import annotations

from parburn.errors import EfuseError, GarbledAnswer, NoAnswer, ParburnError, causes
from parburn.transport.ports import is_of_the_line


def caused(error: ParburnError, by: BaseException) -> ParburnError:
    error.__cause__ = by
    return error


def test_causes_come_nearest_first() -> None:
    last = NoAnswer("silence")
    first = caused(EfuseError("b"), last)
    assert list(causes(first)) == [first, last]


def test_errors_that_name_each_other_come_once() -> None:
    one, other = EfuseError("a"), EfuseError("b")
    caused(one, other)
    caused(other, one)
    assert list(causes(one)) == [one, other]
    assert list(causes(caused(one, one))) == [one]


def test_an_error_of_the_line_is_found_behind_others() -> None:
    assert is_of_the_line(GarbledAnswer("noise"))
    assert is_of_the_line(caused(EfuseError("it was read so"), NoAnswer("silence")))
    assert not is_of_the_line(caused(EfuseError("a"), EfuseError("b")))
