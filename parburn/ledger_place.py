"""Where a ledger is: a file, or the address of a pool. A password never stands in an address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from parburn.errors import UsageError

SCHEMES = ("postgresql", "postgres")
_NEVER = ("password", "sslpassword")
_SAYS_PASSWORD = re.compile(r"password\s*=|^postgres(ql)?:/+[^/@]*:[^/@]*@", re.IGNORECASE)
_PASSWORD_HINT = (
    "Take it out, and put it into a passfile (~/.pgpass, mode 0600) or a service file, or use a certificate. "
    "Then change it. A pool is named postgresql://USER@HOST/DATABASE."
)
_HERE = ("", "localhost", "127.0.0.1", "::1")


class PoolAddress(NamedTuple):
    """`postgresql://USER@HOST:PORT/DATABASE?OPTIONS`, as libpq reads it."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_far(self) -> bool:
        """Whether it is on another machine: then it is encrypted, and the server proves its name."""
        from urllib.parse import unquote, urlsplit  # here: few ledgers are pools

        hosts = urlsplit(self.text).netloc.rpartition("@")[2].split(",")
        names = [unquote(re.sub(r":\d*$", "", host)).strip("[]") for host in hosts]
        names += self.options.get("host", "").split(",")
        return any(name not in _HERE and not name.startswith("/") for name in names)

    @property
    def options(self) -> dict[str, str]:
        """Return what is said behind the `?`."""
        from urllib.parse import parse_qsl, urlsplit

        return dict(parse_qsl(urlsplit(self.text).query, keep_blank_values=True))


def is_address(text: str) -> bool:
    """Return whether a text is the address of a pool, and no path of a file."""
    return text.split(":", 1)[0].lower() in SCHEMES and "://" in text


def parse_address(text: str) -> PoolAddress:
    """Return the address that a text is.

    Raises:
        UsageError: it holds a password, which every list of processes would show.
    """
    from urllib.parse import parse_qsl, urlsplit

    parts = urlsplit(text)
    user, _, _host = parts.netloc.rpartition("@")
    if ":" in user or any(name in _NEVER for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise UsageError(
            "The address of the pool holds a password: every list of processes and every log would show it.",
            hint=_PASSWORD_HINT,
        )
    return PoolAddress(text)


Place = Path | PoolAddress


def parse_place(text: str) -> Place:
    """Return where a ledger is that is named so: the address of a pool, or the path of a file.

    Raises:
        UsageError: see `parse_address`.
    """
    if is_address(text):
        return parse_address(text)
    if _SAYS_PASSWORD.search(text):  # libpq's other way of writing, or an address that is mistyped
        raise UsageError("The ledger that is named holds a password.", hint=_PASSWORD_HINT)
    return Path(text)
