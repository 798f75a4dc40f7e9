"""The rounds of a session, with what was said in them where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.answers.base import Answer, Asking
from monitor.answers.sessions import RoundRow, find, round_row

#: How many rounds are put together at a time; a session may have any number.
_STEP = 200


class Rounds(Answer):
    """Rounds of one session, oldest first."""

    session_id: str
    rounds: list[RoundRow]
    rounds_cursor: str | None = None


def rounds_of(
    ask: Asking,
    session_id: str,
    *,
    limit: int | None = None,
    before: str | None = None,
    content: bool = False,
    new_only: bool = False,
) -> Rounds:
    """The newest `limit` rounds; `before` is the `rounds_cursor` of the page after.

    Raises:
        NotFound: with the ids nearest to the asked one.
    """
    record = find(ask, session_id)
    page = ask.store.rounds(session_id, limit=limit, before=before)
    said = list(ask.store.content(page.rounds)) if content else [None] * len(page.rounds)
    return Rounds(
        session_id=record.session_id or session_id,
        rounds=[round_row(stored, text, new_only=new_only) for stored, text in zip(page.rounds, said, strict=True)],
        rounds_cursor=page.older,
        **ask.freshness,
    )


def each_round(ask: Asking, session_id: str, *, content: bool = False, newest: int | None = None) -> Iterator[RoundRow]:
    """All rounds of a session, oldest first, without holding them all at once."""
    pages: list[str | None] = [None]
    # Pages come newest first; their cursors are small, so the beginning is found before anything is shown.
    left = newest
    sizes = []
    while True:
        size = _STEP if left is None else min(_STEP, left)
        page = ask.store.rounds(session_id, limit=size, before=pages[-1])
        sizes.append(size)
        if left is not None:
            left -= len(page.rounds)
        if page.older is None or left == 0:
            break
        pages.append(page.older)
    for before, size in zip(reversed(pages), reversed(sizes), strict=True):
        page = ask.store.rounds(session_id, limit=size, before=before)
        said = ask.store.content(page.rounds) if content else [None] * len(page.rounds)
        for stored, text in zip(page.rounds, said, strict=True):
            yield round_row(stored, text)
