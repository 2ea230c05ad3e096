"""Room for many ports: the soft limit is raised as far as it may be, and nothing that is open is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CHILD = """\
import json, os, resource, sys
from parburn.transport.descriptors import make_room
soft, hard, ports = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
before = os.listdir("/proc/self/fd")
make_room(ports)
after = os.listdir("/proc/self/fd")
size = [line.split()[1] for line in open("/proc/self/status") if line.startswith("FDSize")]
print(json.dumps([resource.getrlimit(resource.RLIMIT_NOFILE)[0], len(before), len(after), int(size[0])]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "ports", "limit", "room"),
    [
        (1024, 4096, 64, 1024, 384),  # enough as it is
        (256, 4096, 300, 1564, 1564),  # raised
        (256, 512, 300, 512, 511),  # as far as it may be
        (256, 256, 300, 256, 255),
        (256, 256, 1, 256, 69),
    ],
)
def test_the_limit_and_the_table_grow(soft: int, hard: int, ports: int, limit: int, room: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(soft), str(hard), str(ports)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    now, before, after, size = json.loads(done.stdout)
    assert (now, after) == (limit, before)
    assert size >= room


def test_an_open_descriptor_in_that_place_stays_open() -> None:
    from parburn.transport import descriptors

    place = descriptors.PER_PORT + descriptors.BESIDE
    read, write = os.pipe()
    try:
        os.dup2(write, place)
        os.close(write)
        descriptors.make_room(1)
        os.write(place, b"x")
        assert os.read(read, 1) == b"x"
    finally:
        os.close(place)
        os.close(read)
