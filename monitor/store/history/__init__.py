"""Conversations, each message once: a round keeps only what came after the longest prefix already seen.

Every request to a model repeats the whole conversation, so logs grow with the square of its turns.
Here a conversation is a chain of pieces. A piece holds the messages between two positions and what
the model said after them, in one zstd frame; its name is the digest of the position where it ends
(see `monitor.rounds.Position`), so equal beginnings are one piece whoever said them. An answer
that comes back as a message of the next request is a reference into the piece before.

There is one SQLite file a month, `history-YYYYMM.db`, which can be dropped: chains never leave it.
"""

from __future__ import annotations

from monitor.store.base import Content
from monitor.store.history.batch import Entry
from monitor.store.history.folder import History
from monitor.store.history.tables import HistoryError

__all__ = ["Content", "Entry", "History", "HistoryError"]
