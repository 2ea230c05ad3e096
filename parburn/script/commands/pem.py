"""What eFuses hold of PEM keys: the digest of a public key for secure boot V2, the number of an ECDSA key.

cryptography is imported here, and here only. Errors never repeat what a file holds.
"""

from __future__ import annotations

import hashlib
import struct

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from parburn.chips.model import SecureBootKeys
from parburn.errors import BadValue

RSA_BITS = 3072
RSA_BYTES = RSA_BITS // 8
_SIGNED = {SecureBootKeys.RSA: "RSA-3072", SecureBootKeys.ECDSA: "ECDSA"}
# Curve numbers of the signature block of secure boot V2 with ECDSA, and the bytes that hold the point.
CURVES = {"secp192r1": (1, 24, 64), "secp256r1": (2, 32, 64), "secp384r1": (3, 48, 96)}


def secure_boot_digest(pem: bytes, *, only: SecureBootKeys | None = None) -> bytes:
    """Return the SHA-256 over a public key as the signature block of secure boot V2 holds it.

    All numbers in it are little-endian (ESP-IDF, "Secure Boot V2", signature block format).

    Args:
        pem: The PEM of a private or public key, RSA-3072 or ECDSA.
        only: The one kind that is taken; None: both.

    Raises:
        BadValue: it is not such a key.
    """
    key = _public_key(pem)
    kind = SecureBootKeys.RSA if isinstance(key, rsa.RSAPublicKey) else SecureBootKeys.ECDSA
    if only is not None and only is not kind:
        raise BadValue(
            f"the chip's ROM boots images with {_SIGNED[only]} signatures only, and this is another kind of "
            "key: with its digest in the chip, secure boot would let nothing start",
            hint=f"give an {_SIGNED[only]} key, or --force burns the digest of this one anyway",
        )
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size != RSA_BITS:
            raise BadValue(f"an RSA key for secure boot V2 has {RSA_BITS} bits, this one has {key.key_size}")
        return hashlib.sha256(_rsa_block(key.public_numbers())).digest()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        number, size, room = CURVES[key.curve.name]
        point = key.public_numbers()
        both = point.x.to_bytes(size, "little") + point.y.to_bytes(size, "little")
        return hashlib.sha256(bytes([number]) + both.ljust(room, b"\0")).digest()
    raise BadValue("a key for secure boot V2 is RSA-3072 or ECDSA on NIST P-192, P-256 or P-384")


def ecdsa_private_key(pem: bytes, *, double: bool) -> bytes:
    """Return the private number of an ECDSA key as a key block takes it: 32 bytes, or 64 for P-384.

    Args:
        pem: The PEM of the private key.
        double: The purpose takes two blocks: P-384.

    Raises:
        BadValue: another kind of key.
    """
    key = _private_key(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise BadValue("this key purpose takes a private ECDSA key on NIST P-192, P-256 or P-384")
    _, size, _ = CURVES[key.curve.name]
    if (size == 48) is not double:
        raise BadValue(f"a key on {key.curve.name} does not fit this key purpose")
    number = key.private_numbers().private_value.to_bytes(size, "big")
    return number.rjust(64 if double else 32, b"\0")


def _rsa_block(numbers: rsa.RSAPublicNumbers) -> bytes:
    """Return modulus, exponent, R^2 mod n and -1/n mod 2^32: what the RSA peripheral needs of the key."""
    r_squared = pow(2, 2 * RSA_BITS, numbers.n)
    m_prime = -pow(numbers.n, -1, 1 << 32) & 0xFFFFFFFF
    return (
        numbers.n.to_bytes(RSA_BYTES, "little")
        + struct.pack("<I", numbers.e)
        + r_squared.to_bytes(RSA_BYTES, "little")
        + struct.pack("<I", m_prime)
    )


def _public_key(pem: bytes) -> object:
    if b"PRIVATE KEY" in pem:
        private = _private_key(pem)
        if isinstance(private, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            return private.public_key()
        return private
    try:
        return serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadValue("the key file holds no public or private key in PEM format") from None


def _private_key(pem: bytes) -> object:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise BadValue("the key file is locked with a password; give one that is not") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadValue("the key file holds no private key in PEM format") from None
