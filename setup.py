"""Adds the optional C extension to what pyproject.toml says. Without cffi the package is pure Python."""

import importlib.util

from setuptools import setup

EXTENSIONS = ["parburn/coding/_rs_build.py:ffibuilder"] if importlib.util.find_spec("cffi") else []

setup(**({"cffi_modules": EXTENSIONS} if EXTENSIONS else {}))
