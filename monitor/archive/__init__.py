"""The original lines of the logs, kept: sealed segments that can be read like any log, each line counted once.

A segment is one zstd file of lines as they stood in the log, wrappers and all, with an index beside it. It is
made under another name and appears whole or not at all.
"""

from __future__ import annotations

from monitor.archive.collect import Collected, collect
from monitor.archive.purge import purge, segments_of
from monitor.archive.segments import ArchiveError, Index, Segment, segments
from monitor.archive.spool import Spool, spools

__all__ = [
    "ArchiveError",
    "Collected",
    "Index",
    "Segment",
    "Spool",
    "collect",
    "purge",
    "segments",
    "segments_of",
    "spools",
]
