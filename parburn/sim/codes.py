"""The simulator's own arithmetic of the two eFuse codes. Shares nothing with the driver's encoders.

RS(44,32) over GF(256), field polynomial 0x11D, roots alpha^0 .. alpha^11: a word is right when its twelve
syndromes are zero, and up to six wrong bytes are mended (Berlekamp-Massey, Chien, Forney). The 3/4 code of
the classic controller keeps, for six data bytes, their XOR and the sum of `n * ones(byte n)` for n = 1..6.
"""

from __future__ import annotations

from functools import lru_cache

DATA_BYTES, CHECK_BYTES = 32, 12
_WORD = DATA_BYTES + CHECK_BYTES


def _tables() -> tuple[list[int], list[int]]:
    exp, log, power = [0] * 512, [0] * 256, 1
    for i in range(255):
        exp[i] = exp[i + 255] = power
        log[power] = i
        power = (power << 1) ^ (0x11D if power & 0x80 else 0)
    return exp, log


_EXP, _LOG = _tables()


def _times(a: int, b: int) -> int:
    return _EXP[_LOG[a] + _LOG[b]] if a and b else 0


def _over(a: int, b: int) -> int:
    return _EXP[_LOG[a] + 255 - _LOG[b]] if a else 0


def _value(poly: list[int], log_x: int) -> int:
    """Return the value at alpha^log_x of a polynomial, lowest power first."""
    total = 0
    for power, factor in enumerate(poly):
        if factor:
            total ^= _EXP[(_LOG[factor] + log_x * power) % 255]
    return total


def syndromes(word: bytes) -> tuple[int, ...]:
    """Return the twelve syndromes of a 44-byte word; all zero when it is a code word."""
    found = []
    for root in range(CHECK_BYTES):
        total = 0
        for byte in word:
            total = (_EXP[_LOG[total] + root] if total else 0) ^ byte
        found.append(total)
    return tuple(found)


def _error_locator(syndrome: tuple[int, ...]) -> list[int]:
    """Return the shortest register that makes the syndromes (Berlekamp-Massey), lowest power first."""
    locator, older = [1], [1]
    length, gap, last = 0, 1, 1
    for n, current in enumerate(syndrome):
        miss = current
        for i in range(1, min(length, len(locator) - 1) + 1):
            miss ^= _times(locator[i], syndrome[n - i])
        if not miss:
            gap += 1
            continue
        factor = _over(miss, last)
        shifted = [0] * gap + [_times(factor, one) for one in older]
        size = max(len(locator), len(shifted))
        summed = [
            (locator[i] if i < len(locator) else 0) ^ (shifted[i] if i < len(shifted) else 0)
            for i in range(size)
        ]
        if 2 * length <= n:
            length, older, last, gap = n + 1 - length, locator, miss, 1
        else:
            gap += 1
        locator = summed
    return locator[: length + 1] if len(locator) > length else locator + [0] * (length + 1 - len(locator))


@lru_cache(maxsize=4096)
def rs_decode(word: bytes) -> tuple[bytes, int, bool]:
    """Decode 44 bytes: the 32 data bytes, how many bytes were wrong, and whether they stay wrong.

    Up to six wrong bytes are corrected.
    """
    syndrome = syndromes(word)
    if not any(syndrome):
        return word[:DATA_BYTES], 0, False
    locator = _error_locator(syndrome)
    count = len(locator) - 1
    places = [p for p in range(_WORD) if _value(locator, 255 - p) == 0]
    if count > CHECK_BYTES // 2 or len(places) != count:
        return word[:DATA_BYTES], count, True
    evaluator = [0] * CHECK_BYTES
    for i, one in enumerate(syndrome):
        for j, factor in enumerate(locator):
            if i + j < CHECK_BYTES:
                evaluator[i + j] ^= _times(one, factor)
    slope = [locator[i] if i % 2 else 0 for i in range(1, count + 1)]
    mended = bytearray(word)
    for place in places:
        log_x = 255 - place
        size = _over(_value(evaluator, log_x), _value(slope, log_x))
        mended[_WORD - 1 - place] ^= _times(_EXP[place], size)
    if any(syndromes(bytes(mended))):
        return word[:DATA_BYTES], count, True
    return bytes(mended[:DATA_BYTES]), count, False


def _generator() -> tuple[int, ...]:
    poly = [1]  # highest power first
    for root in range(CHECK_BYTES):
        longer = [*poly, 0]
        for i, factor in enumerate(poly):
            longer[i + 1] ^= _times(factor, _EXP[root])
        poly = longer
    return tuple(poly)


_GENERATOR = _generator()


def rs_check_bytes(data: bytes) -> bytes:
    """Return the twelve check bytes of 32 data bytes: what the factory burns beside its own data."""
    rest = bytearray(data) + bytearray(CHECK_BYTES)
    for i in range(DATA_BYTES):
        factor = rest[i]
        if factor:
            for j, one in enumerate(_GENERATOR):
                rest[i + j] ^= _times(one, factor)
    return bytes(rest[DATA_BYTES:])


def three_quarters_check(six: bytes) -> tuple[int, int]:
    """Return the two check bytes that follow six data bytes in the 3/4 code."""
    xor = 0
    for byte in six:
        xor ^= byte
    return xor, sum(n * byte.bit_count() for n, byte in enumerate(six, 1)) & 0xFF


def three_quarters_encode(data: bytes) -> bytes:
    """Return 24 data bytes as the 32 that are burned."""
    groups = [data[i : i + 6] for i in range(0, len(data), 6)]
    return b"".join(group + bytes(three_quarters_check(group)) for group in groups)


def three_quarters_decode(burned: bytes) -> tuple[bytes, int]:
    """Decode 32 burned bytes: the 24 data bytes, and one warning bit a group of eight whose check is wrong.

    One wrong data bit of a group is corrected; anything worse stays as it was burned.
    """
    data, warnings = bytearray(), 0
    for number in range(len(burned) // 8):
        group = bytearray(burned[8 * number : 8 * number + 8])
        xor, total = three_quarters_check(bytes(group[:6]))
        if (xor, total) != (group[6], group[7]):
            warnings |= 1 << number
            _mend_one_bit(group, xor ^ group[6], total - group[7])
        data += group[:6]
    return bytes(data), warnings


def _mend_one_bit(group: bytearray, wrong: int, excess: int) -> None:
    """Correct a group with one flipped data bit.

    `wrong` has that bit alone; `excess` is its byte's number, negative when the bit was lost.
    """
    place = abs(excess)
    if wrong.bit_count() == 1 and 1 <= place <= 6 and bool(group[place - 1] & wrong) == (excess > 0):
        group[place - 1] ^= wrong
