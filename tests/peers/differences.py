"""The table of deliberate differences: where parburn is stricter or kinder than a peer, or the peer is wrong.

Each entry is narrow: it names the peers, the kind of mismatch and what it is about, and says why. A mismatch
that no entry covers fails its test; an entry that the corpus never hits fails the table's own test. Where
nothing is said to the contrary the reason is a line of the dialect's definition (dialect 4 is judged against
4.12, dialect 5 against 5.6).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.peers.compare import Mismatch

Cover = Callable[[Mismatch], bool]
BOTH = frozenset({4, 5})
CALIBRATION = re.compile(r"ADC|LDO|DBIAS|_HVT")


@dataclass(frozen=True, slots=True)
class Difference:
    """One deliberate difference. `covers` decides; it is asked only for mismatches with one of `peers`."""

    name: str
    reason: str
    covers: Cover
    peers: frozenset[int] = BOTH


def accepted_here(pattern: str, because: str) -> Cover:
    """The peer refuses a step whose text matches, with a message that matches; parburn carries it out."""
    step, message = re.compile(pattern), re.compile(because)
    return lambda one: (
        one.kind == "verdict"
        and one.theirs == "refused"
        and bool(step.search(one.subject))
        and bool(message.search(one.message))
    )


def refused_here(pattern: str, because: str) -> Cover:
    """The peer carries out a step whose text matches; parburn refuses it with a message that matches."""
    step, message = re.compile(pattern), re.compile(because)
    return lambda one: (
        one.kind == "verdict"
        and one.theirs == "accepted"
        and bool(step.search(one.subject))
        and bool(message.search(one.message))
    )


def in_case(name: str, cover: Cover) -> Cover:
    """Only in the case of this name: for scripts, whose text is not at hand here."""
    return lambda one: one.case == name and cover(one)


def calibration_value(one: Mismatch) -> bool:
    """`get`, `get_meaning` or the summary's value of a calibration field: here the plain number."""
    if one.kind not in ("get", "meaning", "summary") or not CALIBRATION.search(one.subject):
        return False
    if one.kind == "summary" and not one.subject.endswith(".value"):
        return False
    if not isinstance(one.ours, int) or not isinstance(one.theirs, int) or one.theirs % 4:
        return False
    sign = one.ours - abs(one.theirs) // 4  # what is left of the plain number is the sign's bit
    return sign == 0 if one.theirs > 0 else sign.bit_count() == 1


def shown_without_coding(one: Mismatch) -> bool:
    """BLOCK1 to BLOCK3 of an ESP32 that has left its 3/4 coding: all cells are shown, check bytes too."""
    left = r"(burn_bit|burn_block_data) .*BLOCK0 |burn_efuse .*CODING_SCHEME "
    if one.chip != "esp32" or not re.search(left, one.asked):
        return False
    if one.kind == "block":
        cells, data = int(one.ours, 16), int(one.theirs, 16)
        return data == sum((cells >> 64 * n & (1 << 48) - 1) << 48 * n for n in range(4))
    shown = r"(BLOCK[123]|(CUSTOM_)?MAC\w*|SECURE_VERSION|ADC\w+)(\.(raw_)?value)?"
    kinds = ("listed", "get", "meaning", "bits", "summary")
    return one.kind in kinds and bool(re.fullmatch(shown, one.subject))


DOUBLE = "(XTS_AES_256_KEY|XTS_AES_256_PSRAM_KEY|ECDSA_KEY_P384)"  # purposes that take two blocks
ONLY_IN_5 = {
    "esp32c2": ("FLASH_CAP", "FLASH_TEMP", "FLASH_VENDOR"),
    "esp32c5": (
        "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION", "RECOVERY_BOOTLOADER_FLASH_SECTOR", "PVT_DBIAS",
    ),
    "esp32h2": ("LSLP_HP_DBIAS",),
}  # fmt: skip


def only_in_5(one: Mismatch) -> bool:
    """A field that 4.12's table does not have: it is not listed, and a command that names it is refused."""
    names = ONLY_IN_5.get(one.chip, ())
    if one.kind == "listed":
        return one.subject in names and one.ours is True
    asked_for = re.search(rf"\b({'|'.join(names)})\b", one.message) if names else None
    return asked_for is not None and accepted_here("", "Invalid the efuse name|incorrect command")(one)


def double_key_beside_staged_bits(one: Mismatch) -> bool:
    """The second half of a key goes elsewhere, since bits are staged in the block that would be next, or in
    its purpose: theirs is refused, or lies over these bits where they happen to be bits of the key."""
    asked = rf"burn_\w+ [^;]*\b(BLOCK(_KEY)?|KEY_PURPOSE_)\d .*; burn_key .*BLOCK_KEY\d \S+ {DOUBLE}"
    if one.kind == "verdict":
        return accepted_here(asked, "cannot be cleared")(one)
    shown = r"(BLOCK\d|BLOCK_KEY\d|KEY_PURPOSE_\d(_H)?|RD_DIS|WR_DIS)(\.(raw_)?value|\.readable|\.writeable)?"
    differs = one.kind not in ("half-staged", "says", "listed") and not one.message
    return differs and bool(re.search(asked, one.asked) and re.fullmatch(shown, one.subject))


def sector_without_its_top_bit(one: Mismatch) -> bool:
    """The chip or the field without bit 11 of RECOVERY_BOOTLOADER_FLASH_SECTOR, bit 120 of BLOCK0."""
    name = "RECOVERY_BOOTLOADER_FLASH_SECTOR"
    if one.chip != "esp32c5" or not re.search(rf"\b{name} ", one.asked):
        return False
    if one.kind == "block":
        return one.subject == "BLOCK0" and int(one.ours, 16) ^ int(one.theirs, 16) == 1 << 120
    return bool(re.fullmatch(rf"{name}(_HI)?(\.(raw_)?value)?", one.subject))


def purpose_of_c61(one: Mismatch) -> bool:
    """What a KEY_PURPOSE field with code 5 to 8 shows, and whether that may be burned."""
    if one.chip != "esp32c61":
        return False
    if one.kind == "verdict":
        named = refused_here("KEY_PURPOSE_|HMAC_", r"HMAC_|can not be set|no key purpose|'[5-8]'")
        hidden = refused_here("read_protect_efuse ", "its purpose is FORBIDDEN_STATE")
        return named(one) or hidden(one)
    return one.ours == "FORBIDDEN_STATE" and str(one.theirs).startswith("HMAC_")


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "a refused command stages nothing",
        "the originals leave it half staged: a caught refusal still burns a part of it",
        lambda one: one.kind == "half-staged",
    ),
    Difference(
        "the bare counter of ESP32",
        "`burn_efuse FLASH_CRYPT_CNT` is documented, and refused by the originals: it burns the next bit",
        accepted_here(r"burn_efuse (--force )?FLASH_CRYPT_CNT(;|$)", "New value required"),
    ),
    Difference(
        "hyphens in command names",
        "`burn-efuse` is the name of 5.x and taken in both dialects",
        accepted_here(r"(^|; )[a-z]+-", "incorrect command"),
        frozenset({4}),
    ),
    Difference(
        "quotes in commands",
        "commands are split like a shell does; the original splits at every space",
        accepted_here("['\"]", "incorrect command"),
        frozenset({4}),
    ),
    Difference(
        "bits counted from the end",
        "`burn_bit BLOCK -1` is refused here, as by 5.6",
        refused_here(r"burn_bit \S+ (\d+ )*-\d", "-1|negative"),
        frozenset({4}),
    ),
    Difference(
        "negative offsets",
        "the originals take a negative `--offset` as 0 and burn elsewhere than asked",
        refused_here(r"burn_block_data .*--offset=-\d", "offset"),
    ),
    Difference(
        "refused before the first bit",
        "what a burn refuses, it refuses before it; the originals burn, then find that it cannot have been",
        lambda one: (
            one.kind not in ("verdict", "half-staged")
            and bool(re.match("burn: .*(is not supported|was not successful)", one.message))
        ),
    ),
    Difference(
        "512-bit keys by a block's alias",
        "the originals' search for the second block knows the others by one name only: one is picked twice",
        accepted_here(
            rf"burn_key [^;]*(\bBLOCK\d [^;]*\b{DOUBLE}|\b{DOUBLE}\b[^;]* BLOCK\d )",
            "cannot be cleared|repeated",
        ),
    ),
    Difference(
        "512-bit keys look at what is staged",
        "the originals' search for the second block ignores it, and runs into the key that is staged there",
        double_key_beside_staged_bits,
    ),
    Difference(
        "fields that nobody can read",
        "the originals burn bits of read-protected fields and take the zeros that they read for success",
        refused_here(r"burn_", "no burn can be verified"),
    ),
    Difference(
        "two 512-bit keys in one command",
        "the originals split the first one only, and take the second for a key of the wrong size",
        accepted_here(rf"burn_key [^;]*\b{DOUBLE}\b[^;]*\b{DOUBLE}\b", "key file size 64"),
    ),
    Difference(
        "512-bit keys pass by a block that cannot hold them",
        "the originals' search offers the block in which the hardware forbids such keys, and then refuses",
        accepted_here(r"burn_key .*\S+ XTS_AES_256_KEY", "KEY_PURPOSE_5 can not have XTS_AES_256_KEY_2"),
    ),
    Difference(
        "single bits of protected fields",
        "the originals report such bits as burned, and they are not",
        refused_here(r"burn_bit|burn_block_data", "write-protected fields"),
    ),
    Difference(
        "calibration values",
        "4.12 shows them as sign-magnitude times 4; the plain number, as 5.6 has it, is right",
        calibration_value,
        frozenset({4}),
    ),
    Difference(
        "fields that only 5.6 has",
        "4.12's tables of these chips lack a few fields, which exist here in both dialects",
        only_in_5,
        frozenset({4}),
    ),
    Difference(
        "the recovery sector of ESP32-C5",
        "5.6 keeps two of its three high bits, so that bit 11 is never burned",
        sector_without_its_top_bit,
        frozenset({5}),
    ),
    Difference(
        "HMAC keys of ESP32-C61",
        "4.12 offers four purposes for a peripheral that this chip does not have; 5.6 does not",
        purpose_of_c61,
        frozenset({4}),
    ),
    Difference(
        "purposes above 15 of ESP32-P4",
        "from v3.0 on they have five bits, and burn_efuse of the originals puts all into the lower four",
        lambda one: (
            one.chip == "esp32p4"
            and accepted_here("burn_efuse .*KEY_PURPOSE_", "unsigned integer for a bitstring of length 4")(
                one
            )
        ),
    ),
    Difference(
        "the fifth bit of a purpose of ESP32-P4",
        "a bare burn_efuse burns a field of one bit; the originals take this one for a purpose, and crash",
        accepted_here(r"burn_efuse (--force )?KEY_PURPOSE_\d_H(;|$)", "no attribute 'isdigit'"),
    ),
    Difference(
        "the key block of ESP32-C2 by its other name",
        "block names and aliases are one here; burn_key of the originals takes BLOCK_KEY0 only",
        lambda one: (
            one.chip == "esp32c2"
            and accepted_here("burn_key .*BLOCK3 ", "BLOCK3.*(incorrect command|is not 'BLOCK_KEY0')")(one)
        ),
    ),
    Difference(
        "burn_key_digest of ESP32-C2 with a block",
        "the originals take a file alone; the form of the later chips is taken too",
        lambda one: (
            one.chip == "esp32c2"
            and accepted_here(
                r"burn_key_digest .*BLOCK\S+ \S+\.pem",
                r"burn_key_digest .*(incorrect command|'BLOCK\w+': No such file)",
            )(one)
        ),
    ),
    Difference(
        "who a chip is",
        "factory MAC and unique id tell chips apart, here and in the ledger; the originals burn bits of "
        "them as of any field, and other data over a coded block that holds them",
        refused_here(
            "burn_bit|burn_block_data|burn_efuse .*(OPTIONAL_UNIQUE_ID|MAC_CRC) |--force-write-always",
            "says who this chip is",
        ),
    ),
    Difference(
        "a factory MAC whose CRC is wrong",
        "who such a chip is cannot be trusted: it is refused before any script; the originals show `invalid` "
        "and burn it",
        in_case(
            "a factory MAC whose CRC is wrong", refused_here("", "the CRC of the factory MAC .* is 0xff, and")
        ),
    ),
    Difference(
        "more bits of a counter that is burned last",
        "5.6 takes bits of BLOCK0 for the whole value of such a field, and refuses it after burning the rest",
        accepted_here("(burn_bit|burn_block_data) .*BLOCK0 ", "^burn: .*some bits that cannot be cleared"),
        frozenset({5}),
    ),
    Difference(
        "locks that can not be burned any more",
        "5.6 burns everything else first, then finds it out; here nothing is burned",
        lambda one: (
            one.kind not in ("verdict", "half-staged")
            and bool(re.search(r"(burn_bit|burn_block_data) .*BLOCK0 ", one.asked))
            and bool(re.match(r"burn:  \s*\w+ is write-protected", one.message))
            and "write-protected fields" in one.said_here
        ),
        frozenset({5}),
    ),
    Difference(
        "a value without a high bit that is burned",
        "a value is held against all bits of its field; the originals look at the part that they write, and "
        "the chip holds another value than was asked for",
        refused_here(
            r"burn_efuse .*(KEY_PURPOSE_\d|RECOVERY_BOOTLOADER_FLASH_SECTOR) ",
            "bits burned that the new value would clear",
        ),
    ),
    Difference(
        "a purpose's name for its high bit",
        "one bit of a key purpose is a number; the originals take the name of a whole purpose for it",
        refused_here(r"burn_efuse .*KEY_PURPOSE_\d_H [A-Z]", "takes a number, and"),
    ),
    Difference(
        "a counter that cannot grow any more",
        "both refuse; 5.6 does it after burning everything else, here nothing is burned",
        lambda one: (
            one.kind not in ("verdict", "half-staged")
            and bool(re.search(r"(burn_bit|burn_block_data) .*BLOCK0 ", one.asked))
            and bool(re.match(r"burn:  \s*New value contains some bits that cannot be cleared", one.message))
            and bool(one.said_here)
        ),
        frozenset({5}),
    ),
    Difference(
        "a hidden coding scheme",
        "the originals take a read-protected CODING_SCHEME for none, and burn blocks without check bytes",
        refused_here("burn_", "how BLOCK. is coded cannot be known"),
    ),
    Difference(
        "a coding scheme that is hidden as it is burned",
        "the originals do not see that they made it one that nobody supports",
        refused_here(
            "(burn_bit|burn_block_data) .*BLOCK0 ", "CODING_SCHEME is 2, .* nothing can be burned in"
        ),
    ),
    Difference(
        "forced burns of protected blocks",
        "no bit lands; the originals do not notice when the block is read-protected too",
        refused_here("--force-write-always", "is write-protected: it cannot be burned any more"),
    ),
    Difference(
        "one thing named twice",
        "the originals compare spellings: a second name of a field or block, or a second value, is merged",
        refused_here(r"burn_|protect_", "named twice|go into the same place"),
    ),
    Difference(
        "digests that the ROM cannot boot with",
        "the originals burn the digest of an ECDSA key on chips whose secure boot V2 takes RSA only, and "
        "the other way round: nothing would start on such a chip",
        refused_here("burn_key_digest", "signatures only, and this is another kind of key"),
    ),
    Difference(
        "forced MACs and digests",
        "4.12 takes --force-write-always for burn_custom_mac and ESP32's burn_key_digest and forgets it, or "
        "keeps that of the command before; 5.6 heeds it, and so does parburn",
        lambda one: (
            one.kind == "verdict"
            and "--force-write-always" in one.subject
            and bool(re.search("burn_custom_mac|burn_key_digest", one.subject))
        ),
        frozenset({4}),
    ),
    Difference(
        "custom MACs over others",
        "the originals take a part of the burned bits as burned already: the chip keeps another address than "
        "asked for, or on ESP32 gets one whose CRC is wrong; here the chip is another record's",
        refused_here(r"burn_custom_mac", "it has the values of another record"),
    ),
    Difference(
        "there already means equal",
        "what is burned or staged beyond a value makes it another one; the originals take a part of what is "
        "there for there already, and the chip keeps 3 where 1 was asked for",
        refused_here("burn_efuse |burn_custom_mac ", "bits (burned|staged) that the new value would clear"),
    ),
    Difference(
        "a key over other content",
        "a key block holds this very key or nothing; the originals lock what is there, or what grows of it",
        refused_here(
            "burn_key",
            "bits (burned|staged) that the new value would clear|bits burned that are not this key",
        ),
    ),
    Difference(
        "block data over other data",
        "the originals add the bits of both, and the chip holds neither",
        refused_here("burn_block_data", "other data (burned|staged) in byte"),
    ),
    Difference(
        "a value that a later command would change",
        "bits that a command adds to the value of one before it make it another; the originals add them",
        refused_here("burn_", "would not hold the value that a command"),
    ),
    Difference(
        "two flash voltages in one script",
        "the originals burn the bits of both, and 3.3V wins, whichever was asked for last",
        refused_here(
            "set_flash_voltage",
            "regulator cannot be set to .*: a command before asks for|flash voltage \\S+ would not hold",
        ),
    ),
    Difference(
        "a custom purpose by its other name",
        "CUSTOM_DIGEST_n and CUSTOM_n are one code; the originals compare names, and refuse the very digest "
        "that is there, with its purpose locked, for a change of that purpose",
        accepted_here(
            r"burn_key(_digest)? .*CUSTOM_DIGEST_\d+",
            r"not possible to change 'KEY_PURPOSE_\d' to 'CUSTOM_DIGEST_\d+' because write protection",
        ),
    ),
    Difference(
        "a key of ESP32-C2 that the chip would not use",
        "where XTS_KEY_LENGTH_256 is burned the whole block is the key; the originals burn and lock one that "
        "is to be derived from its half, and what is encrypted with that does not boot",
        refused_here(
            "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS",
            "XTS_KEY_LENGTH_256 is (burned|asked for): the chip takes all of",
        ),
    ),
    Difference(
        "constant keys",
        "32 zero bytes are what a power cut leaves of a key file; the originals lock them as a key",
        refused_here("burn_key", "bytes of the key for .* are equal, as in a file that was never written"),
    ),
    Difference(
        "forced keys over other content",
        "a lock is never burned over what it is not to lock, by no option",
        refused_here("--force-write-always", "what is locked must be right to the bit"),
    ),
    Difference(
        "helpers see the script's names",
        "one globals dict serves all scripts of a device; in the original a `def` sees none of it",
        in_case("a helper sees the script's names", accepted_here("", "NameError")),
        frozenset({4}),
    ),
    Difference(
        "fresh config files",
        "each script on each device reads its config files from their start; the original shares one handle",
        in_case("each script has its files from the start", accepted_here("", "JSONDecodeError")),
        frozenset({4}),
    ),
    Difference(
        "several files after --configfiles",
        "documented, and refused by the original",
        in_case("several files after one --configfiles", accepted_here("", "incorrect command")),
        frozenset({4}),
    ),
    Difference(
        "blocks by name",
        "`efuses[block]` takes block names and aliases too",
        in_case("blocks by name", accepted_here("", "KeyError")),
        frozenset({4}),
    ),
    Difference(
        "writes to the eFuse controller",
        "everything that burns goes through plan, ledger and commit, so esp.write_reg to it is refused",
        in_case("the eFuse controller is not for scripts", refused_here("", "eFuse controller")),
        frozenset({4}),
    ),
    Difference(
        "os.chdir",
        "one process serves all boards: a script must not move the others' folder",
        in_case("scripts stay in their folder", refused_here("", "chdir")),
        frozenset({4}),
    ),
)


# What a chip does and the originals' virtual chips do not: met on simulated boards only.
ON_BOARDS: tuple[Difference, ...] = (
    Difference(
        "forced second writes",
        "other data over an RS block spoil its check bytes; the virtual chip looks at those of one write. "
        "Where it is the block of the factory MAC, its decoder shows another address afterwards",
        lambda one: (
            one.kind not in ("half-staged", "listed")
            and "--force-write-always" in one.asked
            and bool(re.search("coding errors|another chip answers", one.said_here))
        ),
    ),
    Difference(
        "a coding scheme that is left",
        "a chip without coding shows the check bytes as data; the virtual chip goes on showing the data",
        shown_without_coding,
    ),
    Difference(
        "forced burns of hidden blocks",
        "what cannot be read back cannot be verified, and is not burned; an image in memory knows no doubt. "
        "Each step has a ledger of its own here, so that a chip with a key is another machine's",
        refused_here("--force-write-always", "carries a key in .*, unknown to this ledger"),
    ),
)


def difference_of(one: Mismatch, *, on_board: bool = False) -> Difference | None:
    """The first entry that covers a mismatch. `on_board`: our side was no image in memory."""
    for difference in (*DIFFERENCES, *(ON_BOARDS if on_board else ())):
        if one.peer in difference.peers and difference.covers(one):
            return difference
    return None


@dataclass
class Hits:
    """Which entries a run of the corpus came across."""

    on_board: bool = False
    names: set[str] = field(default_factory=set)

    def unexplained(self, found: Iterable[Mismatch]) -> list[Mismatch]:
        """Note the entries that were hit; return the mismatches that none of them covers."""
        left = []
        for one in found:
            difference = difference_of(one, on_board=self.on_board)
            if difference is None:
                left.append(one)
            else:
                self.names.add(difference.name)
        return left

    def never_hit(self) -> list[str]:
        """Entries that the run did not come across: stale, or the corpus lacks their case."""
        return [one.name for one in DIFFERENCES if one.name not in self.names]
