"""parburn: burn the eFuses of many Espressif chips at once."""

__version__ = "0.1.0"
