"""Slot names, with the sysfs of a real kernel: they stay with the socket, and no two ports share one."""

from __future__ import annotations

import re

from tests.usb.bench import Bench
from tests.usb.devices import Ft232, Ft4232, TwoPorts, UsbSerialJtag

TWO_LINKS = (
    'SUBSYSTEM=="tty", ACTION!="remove", SUBSYSTEMS=="usb", ENV{ID_PATH}=="*-usb-*", '
    """PROGRAM="/bin/sh -c 'echo $env{ID_PATH} | sed s/-usb-/-usbv2-/'", """
    'SYMLINK+="serial/by-path/%c-port0"\n'
)


def slots(bench: Bench) -> dict[str, str]:
    """What `parburn ports` calls the sockets, without the controller."""
    done = bench.parburn("ports", "--json")
    assert done.code == 0, done.output
    return {row["port"]: re.sub(r"^pci-[^-]*-usb-0:", "", row["slot"]) for row in done.events}


def test_hubs_and_twins_and_adapters_of_several_ports(bench: Bench) -> None:
    rig = bench.boards("esp32c3:5")
    bench.machine.shell("echo 1209 0002 >/sys/bus/usb-serial/drivers/generic/new_id")
    bench.plug_hub("2")
    expected = {}
    for place, chip, pty in (
        ("2.1", Ft232(), rig.ports[0]),  # twins without serial numbers
        ("2.4", Ft232(), rig.ports[1]),
        ("3", UsbSerialJtag("84:F7:03:00:00:01"), rig.ports[2]),
    ):
        bench.plug(place, pty, chip)
        expected[bench.node(place)] = f"{place}:1.0"
    bench.plug("4", rig.ports[3], Ft4232("four"))
    for interface in range(4):
        expected[bench.node("4", interface)] = f"4:1.{interface}"
    bench.plug("5", rig.ports[4], TwoPorts())
    first, second = bench.nodes("5")
    expected |= {first: "5:1.0", second: "5:1.0-port1"}
    assert slots(bench) == expected


def test_a_slot_has_one_name_where_udev_makes_two_links(bench: Bench) -> None:
    rule = bench.file("61-two-links.rules", TWO_LINKS)
    bench.machine.shell(f"cp {bench.work_in_guest}/{rule} /etc/udev/rules.d/; udevadm control --reload")
    try:
        nodes = bench.plug_each(bench.boards("esp32c3:3"))
        links = bench.machine.shell("ls /dev/serial/by-path").split()
        assert len(links) == 6
        assert sum("-usbv2-" in link for link in links) == 3
        assert slots(bench) == {node: f"{place}:1.0" for place, node in enumerate(nodes, 2)}
        # by either link, and all in one run: one slot each
        done = bench.parburn("--dry-run", *bench.burn("/dev/serial/by-path/*"))
        assert len(set(done.events[0]["slots"])) == len(nodes) == len(done.events[0]["slots"])
    finally:
        bench.machine.shell(f"rm /etc/udev/rules.d/{rule}; udevadm control --reload")
