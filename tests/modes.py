"""A test under which the modes of files hold for everybody: root is above them otherwise."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_VERSION = 0x20080522  # of the call, the one with 64 capabilities
_ABOVE_MODES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = tuple(
        (f"{kind}{half}", ctypes.c_uint32) for half in (0, 1) for kind in ("effective", "permitted", "inherited")
    )


@contextmanager
def modes_hold() -> Iterator[None]:
    """This thread, and those it starts, may read and write what the modes let an owner read and write.

    Skips the test where that cannot be had.
    """
    if sys.platform == "win32" or (os.geteuid() == 0 and sys.platform != "linux"):
        pytest.skip("the modes of files do not bind this user")
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, before, bound = _Header(_VERSION, 0), _Sets(), _Sets()
    for sets in (before, bound):
        assert libc.capget(ctypes.byref(header), ctypes.byref(sets)) == 0
    bound.effective0 &= ~_ABOVE_MODES
    assert libc.capset(ctypes.byref(header), ctypes.byref(bound)) == 0
    try:
        yield
    finally:
        assert libc.capset(ctypes.byref(header), ctypes.byref(before)) == 0
