"""Entry for tools that need one; everything is in pyproject.toml."""

from setuptools import setup

setup()
