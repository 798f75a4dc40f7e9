"""Where a person can look at a session."""

from __future__ import annotations

from pydantic import Field

from monitor.answers.base import Answer, Asking, rfc3339
from monitor.answers.sessions import HOW_TO_FIND_YOUR_ID, find


class SessionLink(Answer):
    """A link to the page of one session."""

    session_id: str | None = None
    url: str | None = None
    reachable: bool | None = Field(default=None, description="Whether a page is served now.")
    expires_at: str | None = Field(default=None, description="The link opens the page until then, without a token.")
    note: str | None = None


def session_url(ask: Asking, session_id: str | None, *, reachable: bool) -> SessionLink:
    """The link to a session's page.

    Raises:
        NotFound: with the ids nearest to the asked one.
    """
    if not session_id:
        return SessionLink(note=HOW_TO_FIND_YOUR_ID, **ask.freshness)
    record = find(ask, session_id)
    name = record.session_id or session_id
    note = None if reachable else "No page is served there now: start `session-monitor serve`."
    url, ends = ask.link(name)
    return SessionLink(
        session_id=name,
        url=url,
        reachable=reachable,
        expires_at=None if ends is None else rfc3339(ends * 1000),
        note=note,
        **ask.freshness,
    )
