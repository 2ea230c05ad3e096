"""The six words that a station says to its operator, each one action. Knows no errors: see `verdicts`."""

from __future__ import annotations

from enum import Enum


class Word(Enum):
    """What the operator is to do with the board in a socket. The values are those of `--json`."""

    PASS = "PASS"  # take it out
    RETRY = "RETRY"  # take it out, put it in again: nothing was burned
    WRONG_BOARD = "WRONG BOARD"  # back to the tray
    RED_BIN = "RED BIN"  # it must not ship
    LEAVE_IN = "LEAVE IN"  # it burns, is held, or has stopped the station
    SOCKET_OFF = "SOCKET OFF"  # use another socket: this one is for the engineer
