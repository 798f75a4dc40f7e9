"""A line of a Higress access log becomes a `Round`.

What is known of these lines, with its evidence, is in docs/sources.md. The rules that matter here:

- The outer line looks like JSON but is a template into which client headers are pasted unescaped. Only
  ``ai_log`` is escaped, and it comes first: the first one counts, whatever a header pretends.
- A number may be a number, a numeric string, null or absent; each means what it says.
- Nothing that a line contains makes this package raise.
"""

from __future__ import annotations

from monitor.sources.higress.ai_log import AiLog
from monitor.sources.higress.reader import HigressReader
from monitor.sources.reading import Reading, Reason, Skipped

__all__ = ["AiLog", "HigressReader", "Reading", "Reason", "Skipped"]
