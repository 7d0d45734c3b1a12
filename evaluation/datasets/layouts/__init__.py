"""Layouts of data set folders."""
