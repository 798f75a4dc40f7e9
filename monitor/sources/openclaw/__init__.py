"""OpenClaw's own records become `Round`s: one assistant message is one model call.

What is known of these records, with its evidence, is in docs/sources.md. The rules that matter here:

- A call is known by its session id and its event id, wherever it stands: in the live database, in a file of an
  older release, in an archive of either. A reading of all of them counts it once.
- Nothing is written, and nothing is waited for: OpenClaw goes on while it is read.
- Nothing that a transcript contains makes this package raise.
"""

from __future__ import annotations

from monitor.sources.openclaw.folder import Cursor, Found, StateFolder
from monitor.sources.openclaw.names import Naming
from monitor.sources.openclaw.transcript import Call, Passed, Transcript

__all__ = ["Call", "Cursor", "Found", "Naming", "Passed", "StateFolder", "Transcript"]
