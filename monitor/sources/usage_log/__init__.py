"""Usage records: what programs without a gateway write down of their calls, one JSON object a line.

Programs append to one file a day, ``records/ai_usage/YYYY-MM-DD.jsonl``; other files of this kind, with other
names of fields, are read through a mapping. Docs: docs/usage-records.md.
"""

from __future__ import annotations
