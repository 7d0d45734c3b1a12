"""Restoration scores of derained images."""
