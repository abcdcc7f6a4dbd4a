"""The one error of the device models."""

from __future__ import annotations


class DeviceModelError(Exception):
    """A device description, or weights and inputs, that no array can be made of.

    Every message says what is wrong, where, both values, and what to do.
    """
