"""What the samplers share."""

from __future__ import annotations


class InterruptedException(BaseException):
    """The user pressed a button; not an Exception, so that nobody catches it by mistake."""
