"""Turns Debian's packages into what a virtual machine boots: a kernel, its modules in order, an initramfs."""

from __future__ import annotations

import gzip
import lzma
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

_XZ: Final = b"\xfd7zXZ\x00"
_ELF: Final = b"\x7fELF"


def unpacked_kernel(packed: bytes) -> bytes:
    """Return the ELF file inside a bzImage, else the image as it is.

    QEMU starts an ELF kernel with a PVH note directly. An emulated processor would need seconds to unpack it.
    """
    start = packed.find(_XZ)
    if start < 0:
        return packed
    try:
        kernel = lzma.LZMADecompressor().decompress(packed[start:])
    except lzma.LZMAError:
        return packed
    return kernel if kernel.startswith(_ELF) else packed


def _module_name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _module_content(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _depends_on(content: bytes) -> list[str]:
    """Names in the module's own list (`depends=a,b` in its section .modinfo)."""
    found = re.search(rb"\0depends=([^\0]*)\0", content)
    return [name.replace("-", "_") for name in found[1].decode().split(",") if name] if found else []


def modules_in_order(tree: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """Return modules and all that they depend on, each after those it needs.

    A name that is not there is built into the kernel.
    """
    paths = {_module_name(path): path for path in tree.rglob("*.ko*")}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name not in paths:
            return
        content = _module_content(paths[name])
        for other in _depends_on(content):
            add(other)
        ordered[name] = content

    for name in wanted:
        add(name)
    return ordered


class File:
    """One file of an initramfs."""

    def __init__(self, content: bytes, mode: int = stat.S_IFREG | 0o644) -> None:
        self.content, self.mode = content, mode


def program(content: bytes) -> File:
    """A file that can be run."""
    return File(content, stat.S_IFREG | 0o755)


def initramfs(files: Mapping[str, File]) -> bytes:
    """Return a compressed archive for the kernel (cpio, "newc"), with the folders that the names need."""
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    entries: dict[str, File] = {name: File(b"", stat.S_IFDIR | 0o755) for name in sorted(folders)}
    return gzip.compress(b"".join(_newc({**entries, **files})), compresslevel=1)


def _newc(entries: Mapping[str, File]) -> Iterator[bytes]:
    """Header of 13 hexadecimal numbers, name, content; name and content filled up to multiples of 4."""
    everything = [*entries.items(), ("TRAILER!!!", File(b"", 0))]
    for number, (name, file) in enumerate(everything, 1):
        numbers = (number, file.mode, 0, 0, 1, 0, len(file.content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % value for value in numbers) + name.encode() + b"\0"
        yield head + bytes(-len(head) % 4)
        yield file.content + bytes(-len(file.content) % 4)
