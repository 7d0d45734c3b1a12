"""Tests of vision models without rain, in rain, and with it removed."""
