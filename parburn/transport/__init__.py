"""Ports, resets and byte streams: the only part that opens a port."""
