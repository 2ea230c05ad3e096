"""Makes the virtual machine of Debian's packages: `python -m tests.usb.prepare [--install]`.

The kernel's and udev's packages are downloaded and unpacked, never installed: that would start a daemon and
change how this computer boots. Only QEMU itself is installed, and only with --install (as root).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.usb.archive import File, initramfs, modules_in_order, program, unpacked_kernel
from tests.usb.image import (
    APT_LINE,
    GUEST_PACKAGES,
    HERE,
    KERNEL_PACKAGE,
    QEMU,
    QEMU_PACKAGE,
    Image,
    NoMachineError,
    cache_folder,
)

APT_S: Final = 600
# The controller's driver comes last: the drivers of the adapters are there when it finds them.
MODULES: Final = (
    "virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay",
    "ftdi_sio", "cdc_acm", "cp210x", "xhci_pci",
)  # fmt: skip
_KERNEL_PARTS: Final = (
    "./boot/vmlinuz-*",
    *(
        f"./lib/modules/*/kernel/{part}"
        for part in (
            "drivers/virtio/*", "drivers/char/virtio_console.ko*", "drivers/usb/*",
            "fs/9p/*", "fs/netfs/*", "fs/fscache/*", "fs/overlayfs/*", "net/9p/*",
        )
    ),
)  # fmt: skip


def _run(*words: str, folder: Path | None = None) -> str:
    """The output of a command. Raises NoMachineError with what it said."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=APT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoMachineError(f"{' '.join(words)}: {error}") from error
    if done.returncode:
        raise NoMachineError(f"{' '.join(words)}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def install_qemu() -> None:
    """Install QEMU with apt-get, if it is not there. Needs root."""
    if shutil.which(QEMU) is None:
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", QEMU_PACKAGE)


def download(image: Image) -> None:
    """Download the guest's packages, those that are not there yet. Needs no rights."""
    if image.is_downloaded():
        return
    image.packages.mkdir(parents=True, exist_ok=True)
    found = re.search(r"Depends: (linux-image-\S+)", _run("apt-cache", "depends", KERNEL_PACKAGE))
    if found is None:
        raise NoMachineError(f"apt-cache knows no {KERNEL_PACKAGE}: run apt-get update")
    _run("apt-get", "download", "-qq", found[1], *GUEST_PACKAGES, folder=image.packages)


def _unpack(package: Path | None, folder: Path, *parts: str) -> None:
    """Unpack into a tree whose /lib, /bin and /sbin are links into /usr, as the host's are."""
    assert package is not None
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lib", "bin", "sbin"):
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")
    content = folder.with_suffix(".tar")
    with content.open("wb") as file:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=file, check=True)
    _run(
        "tar", "-x", "-f", str(content), "-C", str(folder), "--keep-directory-symlink", "--no-same-owner",
        *(("--wildcards", *parts) if parts else ()),
    )  # fmt: skip
    content.unlink()


def make(image: Image) -> None:
    """Make kernel, udev and initramfs of the downloaded packages."""
    _unpack(image.kernel_package(), image.kernel, *_KERNEL_PARTS)
    _unpack(image.package("udev"), image.udev)
    busybox = image.folder / "busybox"
    _unpack(image.package("busybox-static"), busybox)
    kernel = next((image.kernel / "boot").glob("vmlinuz-*"))
    image.boot.write_bytes(unpacked_kernel(kernel.read_bytes()))
    modules = modules_in_order(image.kernel / "usr" / "lib" / "modules", MODULES)
    files = {f"modules/{name}.ko": File(content) for name, content in modules.items()}
    files["modules/order"] = File("".join(f"{name}\n" for name in modules).encode())
    files["bin/busybox"] = program((busybox / "bin" / "busybox").read_bytes())
    files["init"] = program((HERE / "guest" / "init").read_bytes())
    image.initramfs.write_bytes(initramfs(files))
    image.note_made()


def main() -> int:
    """Make the machine; 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m tests.usb.prepare", description=__doc__)
    parser.add_argument("--install", action="store_true", help="install QEMU with apt-get first (as root)")
    options = parser.parse_args()
    image = Image(cache_folder())
    try:
        if options.install:
            install_qemu()
        elif shutil.which(QEMU) is None:
            raise NoMachineError(f"{QEMU} is not installed: {APT_LINE}")
        download(image)
        if not image.is_made():
            make(image)
    except NoMachineError as error:
        sys.stderr.write(f"The virtual machine for the USB tests cannot be made. {error}\n")
        return 1
    sys.stdout.write(f"The virtual machine for the USB tests is in {image.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
