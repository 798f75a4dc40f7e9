"""Sources are opened for reading: what the settings name becomes something that gives batches."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.config import SourceSettings
from monitor.ingest import LogSource, Source, StreamSource
from monitor.prices.live import LiveCatalog
from monitor.runtime.following import STDIN, is_of_days
from monitor.store.base import Store

if TYPE_CHECKING:
    from monitor.archive import Spool
    from monitor.ingest.intake import Intake

#: Where the original lines of a log are kept as they are read; None where they are not.
KeptBy = Callable[[Path], "Spool | None"]


def opened(
    settings: SourceSettings,
    writer: Store,
    catalog: LiveCatalog,
    *,
    keep_content: bool,
    kept_by: KeptBy,
    intake: Intake | None = None,
) -> Source:
    """One source, from where the store says that it was read to; how it is read is remembered there.

    `intake`: what follows it already, where it is a log of a fleet's node.
    """
    name = str(settings.path)
    reader = None
    if settings.kind == "openclaw":
        from monitor.ingest.transcripts import TranscriptSource  # noqa: PLC0415 - only where there are transcripts

        writer.follow(name, settings.kind, b"{}")
        return TranscriptSource(settings.path, writer, catalog, keep_content=keep_content)
    if settings.kind == "usage":
        from monitor.ingest.usage_folder import UsageFolder  # noqa: PLC0415 - only where there are records
        from monitor.sources.usage_log.reader import UsageReader  # noqa: PLC0415

        own = settings.model_dump(mode="json", exclude={"kind", "path"}, exclude_defaults=True)
        writer.follow(name, settings.kind, json.dumps(own).encode())
        if is_of_days(settings):
            return UsageFolder(settings.path, writer, catalog, names=settings.names, keep_content=keep_content)
        reader = UsageReader(settings.names, name)
    if settings.path == STDIN:
        return StreamSource(sys.stdin.fileno(), catalog, keep_content=keep_content, reader=reader)
    return LogSource(
        settings.path,
        writer,
        catalog,
        max_rotate=settings.max_rotate,
        keep_content=keep_content,
        reader=reader,
        lines_kept_by=kept_by(settings.path) if settings.kind == "higress" else None,
        origin=name if settings.kind == "usage" else None,
        intake=intake,
    )
