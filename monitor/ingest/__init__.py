"""The background task: sources to store, with checkpoints; the only room that knows both.

Each step reads a chunk, turns it into priced rounds and commits them together with how far was read.
"""

from monitor.ingest.ingester import Ingester
from monitor.ingest.logs import LogSource, StreamSource
from monitor.ingest.source import Keeper, Reader, Signature, Source, SourceProblem, SourceState

__all__ = [
    "Ingester",
    "Keeper",
    "LogSource",
    "Reader",
    "Signature",
    "Source",
    "SourceProblem",
    "SourceState",
    "StreamSource",
]
