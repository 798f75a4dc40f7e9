"""The rounds of a session, with what was said in them where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitor.answers.base import Answer, Asking
from monitor.answers.errors import BadQuestion, NotFound
from monitor.answers.sessions import RoundRow, away, find, matches, round_row

#: How many rounds are put together at a time; a session may have any number.
_STEP = 200


class Rounds(Answer):
    """Rounds of one session, oldest first."""

    session_id: str
    rounds: list[RoundRow]
    rounds_cursor: str | None = None


class OneRound(Answer, RoundRow):
    """One round of a session, with what was said as far as that was asked for."""

    session_id: str | None = None


#: What `get_round` can include.
INCLUDABLE = ("messages", "question", "answer", "reasoning", "tool_calls")


def get_round(
    ask: Asking,
    session_id: str | None,
    number: int | None = None,
    round_id: str | None = None,
    *,
    include: Sequence[str] = (),
    new_only: bool = False,
    content_scope: Sequence[str] | None = None,
) -> OneRound:
    """One round by its number in its session, or by its id.

    With `new_only` its messages are those that it added, and `messages_from` says how many came before.
    `content_scope` holds the patterns of the sessions whose content may be included; None: all.

    Raises:
        NotFound: there is no such round.
        BadQuestion: it was not said which round, or its content may not be shown.
    """
    if round_id is not None:
        try:
            key = bytes.fromhex(round_id)
        except ValueError:
            key = b""
        stored = ask.store.round(None, key=key) if len(key) == 16 else None
        if stored is None:
            raise NotFound(
                f"No round {round_id[:64]!r}: copy round_id from get_session with response_format=detailed.{away(ask)}"
            )
        if session_id is not None and stored.round.session_id != find(ask, session_id).session_id:
            raise NotFound(f"Round {round_id} is not one of session {session_id[:200]!r}: leave session_id out.")
    elif session_id is not None and number is not None:
        record = find(ask, session_id)
        stored = ask.store.round(session_id, number)
        if stored is None:
            rounds = sum(part.counts.rounds for part in record.slices)
            if 0 < number <= record.pruned_rounds:
                raise NotFound(
                    f"Rounds 1 to {record.pruned_rounds} of session {session_id[:200]!r} were pruned: they are in its "
                    "totals, and their details are gone."
                )
            raise NotFound(f"Session {session_id[:200]!r} has rounds 1 to {rounds}, not {number}.")
    else:
        raise BadQuestion("Say which round: session_id and round (1 is the first), or round_id.")
    said = None
    if include:
        name = stored.round.session_id or ""
        if content_scope is not None and not matches(name, content_scope):
            raise BadQuestion(
                "The content of this session is not open to MCP clients. Its owner can open it with "
                "`serve --content-scope PATTERN` or privacy.content_scope; figures are shown without include."
            )
        [said] = ask.store.content([stored], new_only=new_only)
    open_ = content_scope is None or matches(stored.round.session_id or "", content_scope)
    row = round_row(stored, said, new_only=new_only, fields=open_)
    left_out = {name: None for name in ("system", *INCLUDABLE) if name not in include}
    if "messages" in include:
        left_out.pop("system", None)
    values = {**row.model_dump(), **left_out}
    return OneRound(**values, session_id=stored.round.session_id, **ask.freshness)


def rounds_of(
    ask: Asking,
    session_id: str,
    *,
    limit: int | None = None,
    before: str | None = None,
    content: bool = False,
    new_only: bool = False,
    since: int | None = None,
) -> Rounds:
    """The newest `limit` rounds, none from before `since`; `before` is the `rounds_cursor` of the page after.

    Raises:
        NotFound: with the ids nearest to the asked one.
    """
    record = find(ask, session_id)
    page = ask.store.rounds(session_id, limit=limit, before=before, since=since)
    said = list(ask.store.content(page.rounds, new_only=new_only)) if content else [None] * len(page.rounds)
    return Rounds(
        session_id=record.session_id or session_id,
        rounds=[round_row(stored, text, new_only=new_only) for stored, text in zip(page.rounds, said, strict=True)],
        rounds_cursor=page.older,
        **ask.freshness,
    )


def each_round(
    ask: Asking,
    session_id: str,
    *,
    content: bool = False,
    new_only: bool = False,
    newest: int | None = None,
    since: int | None = None,
) -> Iterator[RoundRow]:
    """All rounds of a session, or those from a moment on, oldest first, without holding them all at once."""
    pages: list[str | None] = [None]
    # Pages come newest first; their cursors are small, so the beginning is found before anything is shown.
    left = newest
    sizes = []
    while True:
        size = _STEP if left is None else min(_STEP, left)
        page = ask.store.rounds(session_id, limit=size, before=pages[-1], since=since)
        sizes.append(size)
        if left is not None:
            left -= len(page.rounds)
        if page.older is None or left == 0:
            break
        pages.append(page.older)
    for before, size in zip(reversed(pages), reversed(sizes), strict=True):
        page = ask.store.rounds(session_id, limit=size, before=before, since=since)
        said = ask.store.content(page.rounds, new_only=new_only) if content else [None] * len(page.rounds)
        for stored, text in zip(page.rounds, said, strict=True):
            yield round_row(stored, text, new_only=new_only)
