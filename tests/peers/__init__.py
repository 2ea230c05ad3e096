"""Holds parburn against espefuse: the originals run in venvs of their own and are never imported here."""
