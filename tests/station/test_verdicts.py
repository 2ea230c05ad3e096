"""One word for each error and each result: the walk over both, and the rules behind the table."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn import errors
from parburn.errors import ParburnError
from parburn.events import DeviceReport, Result
from parburn.station.verdicts import ERRORS, NO_ERROR, RESULTS, Verdict, goes_on_by_itself, row_of, verdict_of
from parburn.station.words import ACTIONS, ENGLISH, LOOKS, Word, Words

PORT = "/dev/ttyUSB3"


def classes() -> list[type[ParburnError]]:
    """All classes of the tree, wherever they are defined."""

    def below(one: type[ParburnError]) -> Iterator[type[ParburnError]]:
        yield one
        for child in one.__subclasses__():
            yield from below(child)

    return [one for one in dict.fromkeys(below(ParburnError)) if one.__module__.startswith("parburn")]


def made(kind: type[ParburnError], text: str = "it went wrong") -> ParburnError:
    if kind is errors.InternalError:
        return errors.InternalError(ValueError(text))
    needed: dict[str, Any] = {"remaining": 1} if "remaining" in inspect.signature(kind).parameters else {}
    return kind(text, **needed)


def report(result: Result, error: ParburnError | None = None) -> DeviceReport:
    return DeviceReport(PORT, "A3", result, error=str(error or ""), error_kind=type(error).__name__)


def judged(kind: type[ParburnError], result: Result = Result.FAILED) -> Verdict:
    error = made(kind)
    return verdict_of(report(result, error), error)


def test_each_class_of_error_has_a_row_of_its_own() -> None:
    assert set(classes()) == set(ERRORS)


def test_all_classes_are_in_one_module() -> None:
    assert {one.__module__ for one in classes()} == {"parburn.errors"}


def test_each_result_decides_or_goes_by_its_error() -> None:
    assert RESULTS.keys() | NO_ERROR.keys() == set(Result)
    assert not RESULTS.keys() & NO_ERROR.keys()


@pytest.mark.parametrize(
    ("kind", "result"),
    [*itertools.product(classes(), Result)],
    ids=lambda one: one.name if isinstance(one, Result) else one.__name__,
)
def test_every_end_has_one_word_and_a_sentence(kind: type[ParburnError], result: Result) -> None:
    for may_go_on in (False, True):
        error = made(kind)
        verdict = verdict_of(report(result, error), error, may_go_on=may_go_on)
        assert isinstance(verdict.word, Word)
        assert verdict.sentence
        assert bool(verdict.failure_kind) != result.passed or result is Result.WOULD_BURN
        if not result.passed:
            assert verdict.word is not Word.PASS
        if verdict.word is Word.RETRY:
            assert result not in (Result.INCOMPLETE, Result.QUARANTINED)  # nothing was burned
        if result is Result.QUARANTINED:
            assert verdict.word is Word.RED_BIN


@pytest.mark.parametrize("result", Result)
def test_a_report_without_an_error_has_a_word(result: Result) -> None:
    verdict = verdict_of(report(result), None)
    assert verdict.hollow is (result is Result.ALREADY_PASS)
    assert (verdict.word is Word.PASS) is (result in (Result.PASS, Result.ALREADY_PASS))


WORDS = {
    Word.RETRY: "PortGone NoAnswer LeftOut GarbledAnswer StagingMismatch Interrupted BoardSwapped "
    "ReadOtherwise CommandRefused LinesBusy UnitHeld",
    Word.WRONG_BOARD: "WrongChip UnitRefused EfuseError PlanError",
    Word.RED_BIN: "ChipError SecureDownload ControllerStuck IdentityUnclear BurnError VerifyFailed "
    "PartialBurn UnitScrapped UnitQuarantined BegunElsewhere",
    Word.SOCKET_OFF: "LinkError PortBusy PortDenied PortHangs",
}


@pytest.mark.parametrize(("word", "names"), WORDS.items(), ids=lambda one: getattr(one, "name", ""))
def test_which_word_an_error_has(word: Word, names: str) -> None:
    for name in names.split():
        assert judged(getattr(errors, name)).word is word, name


def test_a_unit_that_waits_for_an_engineer_stays_in_and_halts_nobody_else() -> None:
    verdict = judged(errors.NeedsResume)
    assert verdict.word is Word.LEAVE_IN
    assert not verdict.halts


def test_all_others_are_the_jobs_or_the_stations_fault_and_halt() -> None:
    listed = set(" ".join(WORDS.values()).split())
    for kind in set(classes()) - {errors.NeedsResume}:
        assert (kind.__name__ not in listed) == judged(kind).halts == (judged(kind).word is Word.LEAVE_IN), (
            kind
        )


def test_the_sockets_own_kinds_are_four() -> None:
    kinds = {row.kind for row in ERRORS.values() if row.of_socket}
    assert kinds == {"no-answer", "garbled", "staging", "vanished"}
    assert not judged(errors.WrongChip).of_socket
    assert not judged(errors.BadValue).of_socket


def test_a_script_that_carries_an_error_of_ours_has_its_word() -> None:
    for inner, word in ((errors.NoAnswer("x"), Word.RETRY), (errors.PlanError("x"), Word.WRONG_BOARD)):
        failed = errors.ScriptFailed("a.py:3: x")
        failed.__cause__ = inner
        assert verdict_of(report(Result.FAILED, failed), failed).word is word
    failed.__cause__ = ValueError("x")
    assert verdict_of(report(Result.FAILED, failed), failed).word is Word.LEAVE_IN


def begun(inner: BaseException | None, *, may_go_on: bool) -> Verdict:
    error = errors.PartialBurn("BLOCK1 was not finished", remaining=2)
    error.__cause__ = inner
    return verdict_of(report(Result.INCOMPLETE, error), error, may_go_on=may_go_on)


def test_a_unit_that_was_begun_goes_on_in_its_socket_once_and_is_the_engineers_then() -> None:
    for inner in (
        errors.PortGone("x"), errors.NoAnswer("x"), errors.Interrupted("x"), errors.LedgerUnusable("x"),
        errors.StagingMismatch("x"),
    ):  # fmt: skip
        assert begun(inner, may_go_on=True).word is Word.LEAVE_IN
        assert begun(inner, may_go_on=False).word is Word.RED_BIN
    assert begun(errors.LedgerUnusable("x"), may_go_on=True).halts
    assert begun(errors.PortGone("x"), may_go_on=True).of_socket


@pytest.mark.parametrize(
    "inner",
    [errors.VerifyFailed("x"), errors.ScriptFailed("x"), errors.ControllerStuck("x"), None, ValueError()],
)
def test_a_finding_about_chip_or_script_never_goes_on_by_itself(inner: BaseException | None) -> None:
    verdict = begun(inner, may_go_on=True)
    assert verdict.word is Word.RED_BIN
    assert verdict.failure_kind


def test_without_an_error_nothing_goes_on() -> None:
    assert not goes_on_by_itself(None)


def test_a_new_class_is_told_by_the_one_above_it() -> None:
    class Newer(errors.WrongChip):
        pass

    assert row_of(Newer("x")).word is Word.WRONG_BOARD
    del Newer


def test_the_sentence_has_the_slot_and_never_the_port_nor_escapes() -> None:
    error = errors.NoAnswer(f"{PORT}: no answer\x1b[31m of {PORT}\nwithin 3 s")
    assert verdict_of(report(Result.NO_ANSWER, error), error).sentence == (
        "the board does not answer: no answer[31m of A3 within 3 s"
    )


# Words ------------------------------------------------------------------------------------------------


def test_all_words_have_an_action_a_colour_and_symbols_of_their_own() -> None:
    assert set(ACTIONS) == set(LOOKS) == set(Word)
    for utf in (True, False):
        symbols = [ENGLISH.symbol(word, utf=utf) for word in Word]
        assert len(set(symbols)) == len(Word)
        assert all(len(symbol) == 1 for symbol in symbols)
        assert ENGLISH.symbol(Word.PASS, hollow=True, utf=utf) not in symbols
    assert all(ENGLISH.symbol(word, utf=False).isascii() for word in Word)
    assert len({look.style for look in LOOKS.values()}) == len(Word)


def test_a_job_says_words_and_actions_in_its_operators_language() -> None:
    words = Words.of({"PASS": "GUT", "wrong_board": "FALSCH", "RED BIN action": "in die rote Kiste"})
    assert words.text(Word.PASS) == "GUT"
    assert words.text(Word.WRONG_BOARD) == "FALSCH"
    assert words.text(Word.RETRY) == "RETRY"
    assert words.action(Word.RED_BIN) == "in die rote Kiste"
    assert words.action(Word.PASS) == ACTIONS[Word.PASS]
    assert words.put_it_back == ENGLISH.put_it_back
    words = Words.of({"pass_action": "herausnehmen", "put_it_back": "wieder einlegen"})
    assert (words.action(Word.PASS), words.put_it_back) == ("herausnehmen", "wieder einlegen")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"PAS": "x"}, "no word of a station"),
        ({"PASS": ""}, "one line of text"),
        ({"PASS": "a\nb"}, "one line of text"),
        ({"PASS": "\x1b[31mPASS"}, "one line of text"),
        ({"PASS": "a word that is far too long"}, "room for 20"),
        ({"PASS": "通通通通通通通通通通通"}, "takes 22 cells"),
        ({"PASS": "retry"}, "would both read"),
        ({"PASS": 7}, "one line of text"),
        ({"PASS action": "x" * 41}, "room for 40"),
        ({"put_it_back": "x" * 201}, "room for 200"),
    ],
)
def test_words_that_cannot_stand_on_a_tile_are_refused(said: dict[str, str], told: str) -> None:
    with pytest.raises(errors.UsageError, match=told):
        Words.of(said)


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4))
def test_words_are_whole_or_refused(said: dict[str, str]) -> None:
    try:
        words = Words.of(said)
    except errors.UsageError:
        return
    assert len({words.text(word).casefold() for word in Word}) == len(Word)
