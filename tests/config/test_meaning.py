"""What two ways of writing a record have in common, and what no way of writing may hide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.config.meaning import DEEPEST, digest_of, digests_of, shown, text_meaning
from tests.fuzz.fuzzing import JSON_LIKE, examples

MAC = "aa:bb:cc:dd:ee:0f"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MAC, "AA:BB:CC:DD:EE:0F"),
        (MAC, "aa-bb-cc-dd-ee-0f"),
        (MAC, "AABBCCDDEE0F"),
        (MAC, "aabb.ccdd.ee0f"),
        (MAC, f" {MAC}\r"),
        ("aa:bb:cc:ff:fe:dd:ee:0f", "AA-BB-CC-FF-FE-DD-EE-0F"),
        ("0x1A", "0X1a"),
        ("two  words ", "two words"),
        (5, "5"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1, "b": ""}, {"a": "1"}),
        ({" mac": MAC}, {"mac": MAC.upper()}),
        ([1, 2], ["1", "2"]),
        ({"a": [{"b": None}]}, {}),
    ],
)
def test_these_mean_the_same(one: Any, other: Any) -> None:
    assert digest_of(one) == digest_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MAC, "aa:bb:cc:dd:ee:1f"),
        ("P00a", "P00A"),
        ("1A", "1a"),  # neither a MAC nor with 0x
        ("aa:bb-cc:dd:ee:0f", MAC),  # separators that differ: no MAC
        ("0x10", "16"),
        ("12", "1 2"),
        ([1, 2], [2, 1]),
        ([1, ""], ["", 1]),
        ({"a": 1}, {"b": 1}),
        ({"a": "b"}, {"a": {"b": "b"}}),
        (["a", "b"], ["a,b"]),
        ({"a": 'x","b":"y'}, {"a": "x", "b": "y"}),
        (True, 1),
    ],
)
def test_these_do_not(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)


@pytest.mark.parametrize("nothing", [None, "", "  ", {}, [], {"a": ""}, [None, ""], {"a": {"b": []}}])
def test_what_says_nothing_has_no_digest(nothing: Any) -> None:
    assert digest_of(nothing) == ""


@examples(200)
@given(value=JSON_LIKE)
def test_everything_has_a_digest_or_says_nothing(value: Any) -> None:
    assert digest_of(value) in ("", digest_of([value])) or digest_of(value).startswith("m1:")
    assert len(shown(value)) <= 60


@examples(100)
@given(text=st.text(max_size=40))
def test_a_meaning_means_itself(text: str) -> None:
    assert text_meaning(text_meaning(text)) == text_meaning(text)


def test_what_is_nested_deeply_does_not_end_the_run() -> None:
    deep: Any = "x"
    for _ in range(20 * DEEPEST):
        deep = [deep]
    assert digest_of(deep).startswith("m1:")


def test_a_key_is_not_shown() -> None:
    key = "00112233445566778899aabbccddeeff"
    assert shown(["1001", key]) == "1001, (32 characters)"
    assert key[:8] not in shown({"a": {"b": key}, "c": key})


MACS = [":".join(f"{n:012x}"[at : at + 2] for at in range(0, 12, 2)) for n in range(20)]


@pytest.mark.parametrize(
    "values",
    [
        [],
        MACS,
        [mac.upper() for mac in MACS],
        [*MACS, f"{MACS[0]} "],
        [*MACS, f"{MACS[0]}\n{MACS[1]}"],
        [f"{MACS[0]}\n{MACS[1]}"],
        [f"{MACS[0]}\n"],
        [*MACS, ""],
        [*MACS, None],
        [*MACS, "0x1A"],
        [{"mac": mac} for mac in MACS],
    ],
)
def test_many_at_one_go_have_the_digests_that_each_has(values: list[Any]) -> None:
    assert digests_of(values) == [digest_of(value) for value in values]


@given(st.lists(st.one_of(JSON_LIKE, st.sampled_from(MACS)), max_size=6))
@examples(100)
def test_any_at_one_go_have_the_digests_that_each_has(values: list[Any]) -> None:
    assert digests_of(values) == [digest_of(value) for value in values]


WORDS = st.text(max_size=13) | st.sampled_from(
    [
        *("unit 5", "S1", "0x1F", "0X1f", " a", "a  b", "a b", "", "12", "ü", 'a"b', "a\\b", "a\nb", "a\tb"),
        *("a%sb", "{}", "aa:bb:cc:dd:ee:ff", "AABBCCDDEEFF", "aabb.ccdd.eeff", "twelve chars", "eleven char"),
        *("a\x1fb", "a\u2028b"),
    ]
)


@given(st.lists(st.fixed_dictionaries({"mac": WORDS, "na me": WORDS, "%s": WORDS}), min_size=1, max_size=5))
def test_many_objects_at_one_go_give_what_each_gives(values: list[dict[str, str]]) -> None:
    assert digests_of(values) == [digest_of(value) for value in values]


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_many_words_at_one_go_give_what_each_gives(values: list[str]) -> None:
    assert digests_of(values) == [digest_of(value) for value in values]


def test_keys_that_mean_the_same_are_looked_at_closely() -> None:
    values = [{"a": "2", " a": "1"}, {"a": "1", " a": "2"}]
    assert digests_of(values) == [digest_of(value) for value in values]
