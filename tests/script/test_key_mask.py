"""A key in whatever form a script writes it: no piece of it stands in a text that leaves; all else stays."""

from __future__ import annotations

import base64
import json
import textwrap
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.errors import UsageError
from parburn.script.key_forms import FEWEST, PIECE, KeyForms, orders_of
from parburn.script.key_mask import KEPT, MASK, KeptForms, KeyMask, Shown, keys_in_content, keys_in_word
from parburn.script.output import BoardOutput, Printed
from tests.command_line.test_secrets import marked, traces_of


def is_rich(key: bytes) -> bool:
    """Whether each piece of the key is looked for."""
    return all(len({*key[at : at + PIECE]}) >= FEWEST for at in range(len(key) - PIECE + 1))


KEYS = (
    st.integers(4, 16)
    .flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
    .filter(is_rich)
)
SEPARATORS = st.sampled_from(
    ["", " ", ":", "-", ", ", "_", "\n", " 0x", ", 0x", ",0X", "\\x", "\t", "; ", "x"]
)


def words_of(key: bytes, order: str) -> list[int]:
    return [int.from_bytes(key[at : at + 4], order) for at in range(0, len(key) // 4 * 4, 4)]  # type: ignore[arg-type]


FORMS: dict[str, Callable[[bytes], str]] = {
    "hex": lambda key: key.hex(),
    "upper": lambda key: key.hex().upper(),
    "number in hex": lambda key: hex(int.from_bytes(key, "big")),
    "base64": lambda key: base64.b64encode(key).decode(),
    "base64, second place": lambda key: base64.b64encode(b"a" + key).decode(),
    "base64, third place": lambda key: base64.b64encode(b"ab" + key + b"c").decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(key).decode(),
    "base64 without end": lambda key: base64.b64encode(key).decode().rstrip("="),
    "base64 in lines": lambda key: "\n".join(textwrap.wrap(base64.b64encode(key).decode(), 16)),
    "repr": repr,
    "repr of bytearray": lambda key: repr(bytearray(key)),
    "repr in a list": lambda key: repr([1, key]),
    "repr of a repr": lambda key: repr(str(key)),
    "text": lambda key: key.decode("latin-1"),
    "json text": lambda key: json.dumps(key.decode("latin-1")),
    "list": lambda key: repr(list(key)),
    "tuple": lambda key: repr(tuple(key)),
    "padded numbers": lambda key: " ".join(f"{byte:03d}" for byte in key),
    "list of hex": lambda key: repr([hex(byte) for byte in key]),
    "decimal": lambda key: str(int.from_bytes(key, "big")),
    "words": lambda key: repr(words_of(key, "little")),
    "words the other way": lambda key: repr(words_of(key, "big")),
    "words in hex": lambda key: " ".join(f"{word:08x}" for word in words_of(key, "little")),
    "dump": lambda key: "\n".join(
        f"{at:08x}: {key[at : at + 16].hex(' ')}" for at in range(0, len(key) // 16 * 16, 16)
    ),
}


@pytest.mark.parametrize("form", FORMS)
@given(key=KEYS, order=st.integers(0, 1), before=st.sampled_from(["", "key=", "k: ", "("]))
@settings(max_examples=25, deadline=None)
def test_no_form_of_a_key_stays(form: str, key: bytes, order: int, before: str) -> None:
    shown = FORMS[form](key[::-1] if order else key)
    mask = KeyMask()
    mask.give(key)
    masked = mask.mask(f"{before}{shown} is it\n")
    assert masked.startswith(before.rstrip("k:=( ") or "")
    assert masked.endswith(" is it\n")
    assert MASK in masked
    assert longest_common(shown, masked) < max(longest_of_a_piece(shown, key), longest_window(form, key))


def longest_of_a_piece(shown: str, key: bytes) -> float:
    """How many characters eight bytes take in this form."""
    return max(7.5, len(shown) * (PIECE + 1) / len(key))


def longest_window(form: str, key: bytes) -> int:
    """How many characters the longest of all eight bytes in a row takes in this form: some take more."""
    render, both = FORMS[form], (key, key[::-1])
    return max(len(render(one[at : at + PIECE])) for one in both for at in range(len(key) - PIECE + 1))


def longest_common(one: str, other: str) -> int:
    """The length of the longest text that stands in both."""
    best, before = 0, [0] * (len(other) + 1)
    for letter in one:
        now = [0] * (len(other) + 1)
        for at, there in enumerate(other, 1):
            if letter == there:
                now[at] = before[at - 1] + 1
                best = max(best, now[at])
        before = now
    return best


@given(key=KEYS, separator=SEPARATORS, upper=st.booleans(), order=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_hex_with_any_separator(key: bytes, separator: str, upper: bool, order: int) -> None:
    turned = orders_of(key)[order % len(orders_of(key))]
    shown = separator.join(f"{byte:02X}" if upper else f"{byte:02x}" for byte in turned)
    mask = KeyMask()
    mask.give(key)
    assert mask.mask(f"<{shown}>") == f"<{MASK}>"


@given(key=KEYS, at=st.integers(0, 55), size=st.integers(PIECE, 20))
@settings(max_examples=100, deadline=None)
def test_a_piece_of_eight_bytes_is_enough(key: bytes, at: int, size: int) -> None:
    piece = key[at % (len(key) - PIECE + 1) :][:size]
    mask = KeyMask()
    mask.give(key)
    for shown in (piece.hex(":"), repr(piece), repr(list(piece))):
        assert MASK in mask.mask(f"it is {shown}."), shown


@given(key=KEYS, text=st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_other_text_stays_as_it_is(key: bytes, text: str) -> None:
    mask = KeyMask()
    mask.give(key)
    found = any(form.decode("latin-1") in text for form in traces_of(key) if len(form) >= PIECE)
    assert found or mask.mask(text) == text


def test_what_is_no_key_stays() -> None:
    mask = KeyMask()
    mask.give(marked(1))
    other = marked(2)
    for text in (other.hex(), repr(other), base64.b64encode(other).decode(), marked(1)[:7].hex(" ")):
        assert mask.mask(text) == text


def test_equal_bytes_are_no_piece() -> None:
    mask = KeyMask()
    mask.give(bytes(24) + marked(3, 8))
    assert mask.mask("00" * 24) == "00" * 24
    assert mask.mask((bytes(24) + marked(3, 8)).hex()).startswith("00")
    assert marked(3, 8).hex() not in mask.mask((bytes(24) + marked(3, 8)).hex())


def test_a_mask_that_shows_keys_keeps_none() -> None:
    mask = KeyMask(shows_keys=True)
    mask.give(marked(1))
    assert mask.mask(marked(1).hex()) == marked(1).hex()
    assert repr(mask) == "KeyMask(0 keys)"


def test_a_mask_does_not_show_itself() -> None:
    mask = KeyMask()
    mask.give(marked(1))
    assert repr(mask) == "KeyMask(1 keys)"


def test_an_error_loses_its_keys() -> None:
    mask = KeyMask()
    mask.give(marked(1))
    error = mask.mask_error(UsageError(f"no {marked(1).hex()}", hint=repr(marked(1))))
    assert (str(error), error.hint, error.args) == ("no ??", "b'??'", ("no ??",))


def test_the_bits_of_a_key_are_one() -> None:
    mask = KeyMask()
    mask.give((3, 5, 8, 13, 21, 34, 55, 89, 144))
    assert mask.mask("burn_bit BLOCK_KEY4 3 5 8 13 21 34 55 89 144") == "burn_bit BLOCK_KEY4 ??"
    assert mask.mask("3 5 8") == "3 5 8"


@pytest.mark.parametrize("chunk", [1, 3, 7, 20])
def test_a_key_in_many_writes_is_one_key(chunk: int) -> None:
    """`print(*key)` writes each byte for itself; a flush may come between any two."""
    key, mask, seen = marked(5), KeyMask(), list[str]()
    mask.give(key)
    output = BoardOutput(seen.append, mask)
    written = [piece for byte in key for piece in (str(byte), " ")]
    for number, piece in enumerate(written):
        output.write(piece)
        if number % (2 * chunk) == 0:
            output.flush()
    output.close()
    left = "".join(seen).split("??")
    assert len(left) > 1
    assert all(len(part.split()) < PIECE for part in left), left


def test_what_was_printed_before_the_key_was_given() -> None:
    """It waits for the next flush; what was flushed is masked in the report."""
    key, mask, seen = marked(6), KeyMask(), list[Printed]()
    output = BoardOutput(lambda text: seen.append(text) if isinstance(text, Printed) else None, mask)
    output.write(f"early {key.hex()}\n")
    output.flush()
    output.write(f"late {key.hex()}\n")
    output.write(Shown(f"summary {key.hex()}\n"))
    mask.give(key)
    output.close()
    assert "".join(seen) == f"early {key.hex()}\nlate ??\nsummary {key.hex()}\n"
    parts = [part for text in seen for part in text.parts]
    assert mask.mask_output(parts) == f"early ??\nlate ??\nsummary {key.hex()}\n"


@pytest.mark.parametrize(
    ("word", "size"),
    [
        (marked(7).hex(), 32), ("0x" + marked(7).hex(), 32), (marked(7).hex(":").upper(), 32),
        (base64.b64encode(marked(7)).decode(), 32), (str(int.from_bytes(marked(7), "big")), 32),
        ("key.bin", 0), ("SECURE_BOOT_DIGEST0", 0), ("XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS", 0),
        ("02:00:00:00:00:01", 0), ("/keys/of/the/line/board_17.bin", 0),
    ],
)  # fmt: skip
def test_a_key_typed_in_place_of_a_word(word: str, size: int) -> None:
    found = keys_in_word(word)
    assert bool(found) == bool(size)
    assert not size or marked(7) in found or marked(7)[::-1] in found


def test_a_file_of_digits_is_a_key() -> None:
    assert marked(8) in keys_in_content(marked(8).hex(" ").encode() + b"\n")
    assert marked(8) in keys_in_content(base64.b64encode(marked(8)) + b"\n")
    assert keys_in_content(b"plain words " * 40) == []


def test_a_long_text_takes_no_longer_than_printing_it() -> None:
    """Measured in CPU time of this thread: a megabyte with no key of 20, and the same with one at its end."""
    forms = KeyForms()
    for number in range(20):
        forms.add(marked(number))
    text = "board 12 of 64: burn_efuse 0x12 staged, verified, 17 bytes at /dev/ttyUSB0\n" * 14_000
    for more, found in (("", 0), (marked(3).hex(" "), 1)):
        started = time.thread_time()
        assert len(forms.spans(text + more)) == found
        assert time.thread_time() - started < 2.0  # some 0.1 on a machine of its own


# --- forms that are kept for masks that meet the same keys


@given(st.lists(st.lists(KEYS, min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_mask_with_kept_forms_masks_its_own_keys_and_no_others(boards: list[list[bytes]]) -> None:
    kept = KeptForms()
    everything = " ".join(key.hex() for keys in boards for key in keys)
    for keys in [*boards, *boards]:
        alone, sharing = KeyMask(), KeyMask(kept=kept)
        for key in keys:  # one after the other: forms of some of them must not be taken for those of all
            alone.give(key)
            sharing.give(key)
            assert sharing.mask(everything) == alone.mask(everything)


def test_forms_of_a_key_that_all_boards_have_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    add = KeyForms.add

    def counted(forms: KeyForms, key: bytes) -> None:
        made.append(key)
        add(forms, key)

    monkeypatch.setattr(KeyForms, "add", counted)
    kept, key = KeptForms(), bytes(range(32))
    for _ in range(5):
        mask = KeyMask(kept=kept)
        mask.give(key)
        assert mask.mask(key.hex()) == MASK
    assert made == [key]


def test_few_forms_are_kept_and_those_used_last() -> None:
    kept = KeptForms()
    shared = kept.of([bytes(range(32))])
    for number in range(3 * KEPT):
        kept.of([bytes([number] * 4 + list(range(28)))])
        assert kept.of([bytes(range(32))]) is shared
    assert repr(kept) == f"KeptForms({KEPT})"
