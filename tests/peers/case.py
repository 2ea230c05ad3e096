"""What a case is: a chip as it left the factory, files, and steps. Data only; neither side is run here."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.client import Commands, Scripts, Step

FACTORY_MAC = bytes.fromhex("7c9ebd41a2f0")
NO_CODING, THREE_QUARTERS = "none", "3/4"
REVISION_AT = {"esp32h2": (117, 114), "esp32p4": (68, 64)}  # in BLOCK1: first bits of WAFER_VERSION_*

FileContent = bytes | str | Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Case:
    """One script or command sequence. `start` is added to the factory's bits; `peers` are the versions that
    it is held against (scripts of dialect 4 know version 4 only)."""

    name: str
    chip: str
    steps: tuple[Step, ...]
    coding: str = NO_CODING
    revision: tuple[int, int] | None = None
    start: Mapping[int, int] = field(default_factory=dict)
    files: Mapping[str, FileContent] = field(default_factory=dict)
    table: str | None = None
    peers: tuple[int, ...] = (4,)

    def start_bits(self) -> dict[int, int]:
        """Block bits before the first step."""
        bits = factory_bits(self.chip, self.coding, revision=self.revision)
        for index, more in self.start.items():
            bits[index] = bits.get(index, 0) | more
        return bits

    def write_files(self, folder: Path) -> None:
        """Put the case's files into an empty folder."""
        for name, content in self.files.items():
            data = content() if callable(content) else content
            (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def commands(*lines: str) -> Commands:
    """Lines staged together, then burned."""
    return Commands(lines)


def scripts(*names: str, index: int | None = None, configs: tuple[str, ...] = ()) -> Scripts:
    """Scripts run in order, then what is staged is burned."""
    return Scripts(names, index, configs)


def bits(*numbers: int) -> int:
    """An int with these bits set."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def key(name: str, size: int = 32) -> bytes:
    """Bytes that look like a key and are the same in every run."""
    return hashlib.shake_256(name.encode()).digest(size)


def crc8(data: bytes) -> int:
    """The MAC check byte of ESP32: polynomial x^8 + x^5 + x^4 + 1, least significant bit first."""
    remainder = 0
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x8C if remainder & 1 else 0)
    return remainder


def factory_bits(
    chip: str,
    coding: str = NO_CODING,
    mac: bytes = FACTORY_MAC,
    *,
    revision: tuple[int, int] | None = None,
) -> dict[int, int]:
    """What the factory burned: MAC and revision. Without a revision, what espefuse's virtual chips report."""
    mac_bits = int.from_bytes(mac, "big")
    if chip == "esp32":
        revision_3 = bits(3 * 32 + 15, 5 * 32 + 20)
        scheme = bits(6 * 32) if coding == THREE_QUARTERS else 0
        return {0: mac_bits << 32 | crc8(mac) << 80 | revision_3 | scheme}
    if chip == "esp32c2":
        return {2: mac_bits}
    if revision is not None:
        major, minor = revision
        major_at, minor_at = REVISION_AT[chip]
        return {1: mac_bits | major << major_at | minor << minor_at}
    minor = {"esp32s3": 2, "esp32c3": 4}.get(chip, 0)
    return {1: mac_bits | minor << (3 * 32 + 18)}


@functools.cache
def rsa_pem(number: int) -> bytes:
    """A private RSA-3072 key. Made anew in each run; `number` tells several apart."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


@functools.cache
def rsa_public_pem(number: int) -> bytes:
    """The public half of `rsa_pem(number)`."""
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key(rsa_pem(number), None)
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@functools.cache
def ec_pem(number: int, bits: int = 256) -> bytes:
    """A private key on P-192, P-256 or P-384, the same in every run."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[int, ec.EllipticCurve] = {192: ec.SECP192R1(), 256: ec.SECP256R1(), 384: ec.SECP384R1()}
    number_of_key = int.from_bytes(key(f"ec {number}", bits // 8 - 1), "big")
    private = ec.derive_private_key(number_of_key, curves[bits])
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
