"""Checks of what must hold when nobody is watching; run from a checkout, never installed."""
