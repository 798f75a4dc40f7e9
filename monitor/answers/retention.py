"""What goes and what stays when old rounds are pruned, or one session is taken out."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from monitor.answers.base import Answer, Asking, rfc3339
from monitor.answers.errors import NotFound
from monitor.answers.sessions import find
from monitor.store.base import Bounds, Pruned, Purged

_DAY_MS = 86_400_000
_QUARTER_MS = 900_000


class Pruning(Answer):
    """What pruning takes away, or took."""

    done: bool = False
    older_than_days: int
    before: str = Field(description="What started before this instant.")
    rounds: int | None = Field(default=None, description="Rounds that are stored no longer. Their counts stay.")
    conversations: int | None = Field(default=None, description="Rounds that stay without what was said in them.")
    months: list[str] = Field(default=[], description="Months of conversations whose file goes as a whole.")
    undated_rounds: int | None = Field(default=None, description="Rounds without a usable time, which stay.")
    freed_bytes: int | None = None
    not_given_back: str | None = Field(default=None, description="Why free room is still taken.")


class Purging(Answer):
    """What purging a session takes away, or took."""

    done: bool = False
    session_id: str
    rounds: int
    conversations: int = Field(description="Rounds of which something was kept that was said.")
    pieces: int | None = Field(default=None, description="Pieces of conversations that go.")
    shared_pieces: int | None = Field(default=None, description="Pieces that stay: other sessions said the same.")
    counts_too: bool = False
    segments: list[str] = Field(default=[], description="Archives that hold lines of it, and are written anew.")
    left_behind: list[str] = Field(default=[], description="Where text may still be, and what to do.")


class Archived(Answer):
    """What was archived, or would be."""

    done: bool = False
    folder: str
    lines: int
    bytes: int = Field(description="Of the lines, before they are compressed.")
    segments: list[str] = []
    segment_bytes: int | None = Field(default=None, description="That the segments take.")


def bounds_of(days: int, now_ms: int, *, content_only: bool) -> Bounds:
    """What is older than so many days, to the quarter of an hour."""
    before = now_ms - days * _DAY_MS
    before -= before % _QUARTER_MS
    return Bounds(content_before=before) if content_only else Bounds(rounds_before=before)


def pruning(ask: Asking, bounds: Bounds, days: int, result: Pruned, *, done: bool) -> Pruning:
    """The plan, or what was done."""
    before = bounds.rounds_before if bounds.rounds_before is not None else bounds.content_before
    return Pruning(
        done=done,
        older_than_days=days,
        before=rfc3339(before or 0),
        rounds=result.rounds or None,
        conversations=result.contents or None,
        months=list(result.months),
        undated_rounds=result.undated or None,
        freed_bytes=result.freed_bytes,
        not_given_back=result.not_given_back,
        **ask.freshness,
    )


def purging(
    ask: Asking,
    name: str,
    result: Purged | None,
    logs: Sequence[str],
    *,
    segments: Sequence[str] = (),
    left: Sequence[str] = (),
    done: bool,
) -> Purging:
    """The plan, or what was done. `logs` are files that may still hold what was said.

    Raises:
        NotFound: there is no such session.
    """
    if result is None:
        find(ask, name)
        raise NotFound(f"No session {name[:200]!r}.")
    left = [*result.left_behind, *left]
    if logs:
        left.append(f"the log itself is left as it is: {', '.join(logs)}")
    return Purging(
        done=done,
        session_id=result.session_id,
        rounds=result.rounds,
        conversations=result.contents,
        pieces=result.pieces or None,
        shared_pieces=result.shared_pieces or None,
        counts_too=result.counts_too,
        segments=list(segments),
        left_behind=left,
        **ask.freshness,
    )
