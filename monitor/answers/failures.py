"""The newest rounds that failed."""

from __future__ import annotations

from monitor.answers.base import Asking
from monitor.answers.sessions import RoundRow, matches, round_row

#: How many failures are looked through for those of some sessions.
_LOOKED_THROUGH = 200


class FailedRound(RoundRow):
    """A round that failed, with its session."""

    session_id: str | None = None


def failed_rounds(
    ask: Asking, begin: int | None, end: int | None, limit: int, keys: tuple[str, ...] | None = None
) -> list[FailedRound]:
    """The newest failed rounds of a period, newest first; with `keys`, only of sessions that match such a glob."""
    found = ask.store.failed(begin, end, limit if keys is None else _LOOKED_THROUGH)
    if keys is not None:
        found = [stored for stored in found if matches(stored.round.session_id or "", keys)][:limit]
    return [
        FailedRound(**round_row(stored, fields=False).model_dump(), session_id=stored.round.session_id)
        for stored in found
    ]
