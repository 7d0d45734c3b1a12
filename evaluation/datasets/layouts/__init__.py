"""Layouts of data set folders.

What is not laid out as a function expects raises `LayoutError`, whose message says what to do:
missing folders and files, unreadable ones, duplicates, and images or labels without counterpart.
"""
