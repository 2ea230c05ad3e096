"""The `esp` object of a script: the chip the script runs on, from what was learnt of it before.

Only `read_reg` and `write_reg` go to the chip; what burns eFuses is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parburn.chips.describe import chip_description, chip_features
from parburn.chips.model import RegisterWrite
from parburn.errors import ChipError
from parburn.script.fatal_error import FatalError, for_scripts
from parburn.script.session import Session


class Esp:
    """The chip that the script runs on, under the names of esptool's loader object; see the module."""

    IS_STUB = False
    sync_stub_detected = False
    stub_is_disabled = True

    def __init__(self, session: Session) -> None:
        self._session = session
        self.CHIP_NAME = session.chip.title
        self.secure_download_mode = session.facts.secure_download
        self.serial_port = session.facts.port

    def __enter__(self) -> Esp:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the port open: it is parburn's."""

    def __repr__(self) -> str:
        return f"<{self.CHIP_NAME} on {self.serial_port}>"

    @for_scripts
    def get_chip_description(self) -> str:
        """Return the package and revision, as `ESP32-D0WDQ6 (revision v1.0)`."""
        return self._session.read(lambda image: chip_description(image.chip, image.value_of))

    @for_scripts
    def get_chip_features(self) -> list[str]:
        """Return what the chip can do, in words."""
        return list(self._session.read(lambda image: chip_features(image.chip, image.value_of)))

    def get_chip_revision(self) -> int:
        """Return the silicon revision, major * 100 + minor."""
        return self._session.facts.revision

    def get_major_chip_version(self) -> int:
        """Return the major silicon revision."""
        return self._session.facts.major

    def get_minor_chip_version(self) -> int:
        """Return the minor silicon revision."""
        return self._session.facts.minor

    def get_pkg_version(self) -> int:
        """Return the package code; 0 where it is not known."""
        return self._session.facts.package or 0

    def get_crystal_freq(self) -> int:
        """Return the crystal's frequency in MHz."""
        return self._session.facts.crystal_mhz

    def read_mac(self, mac_type: str = "BASE_MAC") -> tuple[int, ...]:
        """Return the six bytes of the factory MAC, first byte first.

        Raises:
            FatalError: `mac_type` is not BASE_MAC.
        """
        if mac_type != "BASE_MAC":
            raise FatalError(f"read_mac gives the BASE_MAC only, not {mac_type}")
        return tuple(self._session.facts.mac)

    @for_scripts
    def read_reg(self, addr: int, timeout: float | None = None) -> int:
        """Return a register of the chip (32 bits). `timeout` is taken and not needed."""
        return self._session.read_registers((addr,))[0]

    @for_scripts
    def write_reg(
        self,
        addr: int,
        value: int,
        mask: int = 0xFFFFFFFF,
        delay_us: int = 0,
        delay_after_us: int = 0,
    ) -> None:
        """Write a register that is not the eFuse controller's.

        Args:
            addr: Its address.
            value: What is written.
            mask: Bits to change.
            delay_us: How long the ROM waits before it, in microseconds.
            delay_after_us: Taken for the originals' sake: no wait of ours is needed.

        Raises:
            FatalError: it is a register of the eFuse controller.
        """
        self._session.write_register(RegisterWrite(addr, value, mask, delay_us))

    def update_reg(self, addr: int, mask: int, new_val: int) -> None:
        """Write `new_val` into the bits of `mask`, shifted to the lowest of them.

        Raises:
            FatalError: it is a register of the eFuse controller.
        """
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        self.write_reg(addr, new_val << shift & mask, mask)

    @for_scripts
    def read_efuse(self, n: int) -> int:
        """Return word `n` of the read registers, counted from BLOCK0 on."""
        return self._session.read_registers((self._session.chip.blocks[0].read_address + 4 * n,))[0]

    @for_scripts
    def get_security_info(self) -> dict[str, Any]:
        """Return the flags that the ROM's command GET_SECURITY_INFO reports.

        Raises:
            FatalError: the ROM has no such command.
        """
        flags = self._session.facts.security_flags
        if flags is None:
            raise ChipError(f"the ROM of {self.CHIP_NAME} has no command GET_SECURITY_INFO")
        return {"flags": flags, "secure_download": self.secure_download_mode}

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("esp is one chip; the script runs once for each")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"esp has no {name!r} in parburn: a script may read the chip's data and registers; flashing and "
            "resetting are not its business"
        )
