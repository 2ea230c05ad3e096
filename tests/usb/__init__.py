"""parburn on the real USB serial stack of Linux, in a virtual machine; `pytest -m usb tests/usb`.

The boards are simulated and stay outside. The adapters are made here, byte by byte, and are plugged into the
machine while it runs; its kernel, its drivers and its udev are Debian's. The machine is slow: tests judge
order, never time.
"""
