"""Where a person can look at a session."""

from __future__ import annotations

from pydantic import Field

from monitor.answers.base import Answer, Asking
from monitor.answers.sessions import HOW_TO_FIND_YOUR_ID, find


class SessionLink(Answer):
    """A link to the page of one session."""

    session_id: str | None = None
    url: str | None = None
    reachable: bool | None = Field(default=None, description="Whether a page is served now.")
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
    return SessionLink(session_id=name, url=ask.url(name), reachable=reachable, note=note, **ask.freshness)
