"""Where the virtual machine lies and what it is made of. Makes nothing; `prepare` does that."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
QEMU: Final = "qemu-system-x86_64"
QEMU_PACKAGE: Final = "qemu-system-x86"
KERNEL_PACKAGE: Final = "linux-image-amd64"  # a name without content: it depends on the kernel of the day
GUEST_PACKAGES: Final = ("udev", "busybox-static")
APT_LINE: Final = (
    f"sudo apt-get install --no-install-recommends {QEMU_PACKAGE} && python -m tests.usb.prepare"
)


class NoMachineError(Exception):
    """There is no virtual machine; the text says why, and what makes one."""


def cache_folder() -> Path:
    """Where the machine is kept: `$PARBURN_USB_DIR`, or the user's cache folder."""
    named = os.environ.get("PARBURN_USB_DIR")
    if named:
        return Path(named).resolve()
    import platformdirs

    return platformdirs.user_cache_path("parburn") / "usb"


class Image:
    """The files of one virtual machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages = folder / "packages"  # as they were downloaded
        self.kernel = folder / "kernel"  # unpacked
        self.udev = folder / "udev"  # unpacked; lies over the host's root in the guest
        self.boot = folder / "vmlinux"
        self.initramfs = folder / "initramfs.gz"
        self._stamp = folder / "made-of"

    def is_made(self) -> bool:
        """Whether it was made, of these very sources and packages."""
        return self._stamp.is_file() and self._stamp.read_text() == self._ingredients()

    def note_made(self) -> None:
        """Remember of what it was made."""
        self._stamp.write_text(self._ingredients())

    def package(self, name: str) -> Path | None:
        """The downloaded file of a package, if there is one."""
        return max(self.packages.glob(f"{name}_*.deb"), default=None)

    def kernel_package(self) -> Path | None:
        """The downloaded kernel: linux-image-VERSION-amd64."""
        return max(self.packages.glob("linux-image-[0-9]*.deb"), default=None)

    def is_downloaded(self) -> bool:
        """Whether all packages of the guest are there."""
        return all((self.kernel_package(), *map(self.package, GUEST_PACKAGES)))

    def _ingredients(self) -> str:
        digest = hashlib.sha256()
        for source in (HERE / "prepare.py", HERE / "archive.py", HERE / "guest" / "init"):
            digest.update(source.read_bytes())
        return "\n".join([digest.hexdigest(), *sorted(one.name for one in self.packages.glob("*.deb"))])


def ready_image() -> Image:
    """The machine of this computer. Raises NoMachineError where something is missing."""
    image = Image(cache_folder())
    if shutil.which(QEMU) is None:
        raise NoMachineError(f"{QEMU} is not installed: {APT_LINE}")
    if not image.is_downloaded():
        raise NoMachineError(f"no kernel for the virtual machine: {APT_LINE}")
    if not image.is_made():
        from tests.usb.prepare import make

        make(image)
    return image
