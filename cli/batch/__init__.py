"""Many pictures from one file of jobs: `ebca batch` and `ebca grid`."""

from __future__ import annotations
