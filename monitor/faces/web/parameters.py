"""What can be asked for in the query of the API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from monitor.answers.spenders import SpenderDimension
from monitor.store.base import Grain, SortBy

#: Longer texts are in no log.
_Text = Annotated[str, Field(max_length=2048)]
_Since = Annotated[
    str | None, Field(max_length=60, description="From when: 2026-02-01, 2026-02-01T09:00:00Z, today, 7d, 12h.")
]
_Until = Annotated[str | None, Field(max_length=60, description="Until when, same forms as since.")]
_Days = Annotated[int | None, Field(ge=1, le=3660, description="Last N local days, today included.")]
_SomeDays = Annotated[int, Field(ge=1, le=3660, description="Last N local days, today included.")]
_Zone = Annotated[str | None, Field(max_length=60, description="IANA zone in which days begin, e.g. Asia/Shanghai.")]
_Cursor = Annotated[str | None, Field(max_length=400, description="next_cursor of the page before.")]
_Id = Annotated[str, Field(min_length=1, max_length=2048, description="A session id, or another of its names.")]


class _Asked(BaseModel):
    # A misspelt filter would answer another question.
    model_config = ConfigDict(extra="forbid")


class SessionsAsked(_Asked):
    """Which sessions, in which order."""

    sort_by: SortBy = "updated"
    since: _Since = None
    until: _Until = None
    model: _Text | None = Field(default=None, description="Only sessions that used this model.")
    consumer: _Text | None = Field(default=None, description="Only sessions of this gateway consumer.")
    search: _Text | None = Field(default=None, description="Part of an id, consumer, model or first question.")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: _Cursor = None


class SessionAsked(_Asked):
    """Which session, and how much of it."""

    id: _Id
    since: _Since = Field(default=None, max_length=60, description="As above, or reset: since the last /new or reset.")
    response_format: Literal["concise", "detailed"] = Field(
        default="detailed", description="detailed adds all models and the newest 20 rounds."
    )
    include_subagents: bool = Field(default=False, description="Adds the cost with sub-agents.")
    rounds: bool = Field(
        default=False,
        description="All rounds with what was said in them, oldest first, sent while they are read; with limit or "
        "cursor a page of them, the newest first to come.",
    )
    messages: Literal["full", "new", "none"] = Field(
        default="full",
        description="With rounds: each round's complete messages, what it added to those before, or no content.",
    )
    limit: int | None = Field(default=None, ge=1, le=200, description="With rounds: how many on a page.")
    cursor: str | None = Field(default=None, max_length=400, description="rounds_cursor of a page, for older rounds.")


class RoundAsked(_Asked):
    """Which round, and what of its content."""

    id: _Id | None = None
    round: int | None = Field(default=None, ge=1, le=1 << 40, description="Number of the round; 1 is the first.")
    round_id: str | None = Field(default=None, max_length=64, description="Instead of id and round.")
    include: list[Literal["messages", "question", "answer", "reasoning", "tool_calls"]] = Field(
        default=[], max_length=10, description="Content to include."
    )


class ModelsAsked(_Asked):
    """Which period."""

    since: _Since = None
    until: _Until = None
    days: _Days = None


class DatesAsked(_Asked):
    """Which period, in which steps."""

    since: _Since = None
    until: _Until = None
    days: _Days = None
    bucket: Grain = "day"
    timezone: _Zone = None


class TopAsked(_Asked):
    """Who, and in which period."""

    dimension: SpenderDimension = "session"
    days: _Days = None
    limit: int = Field(default=10, ge=1, le=100)


class AnomaliesAsked(_Asked):
    """How far back, and how many."""

    days: int = Field(default=1, ge=1, le=31, description="Last N local days, today included.")
    limit: int = Field(default=20, ge=1, le=100)


class ReconcileAsked(_Asked):
    """How far back, and how many."""

    days: int = Field(default=7, ge=1, le=366, description="Last N local days, today included.")
    limit: int = Field(default=20, ge=1, le=1000)


class CompareAsked(_Asked):
    """Whose tokens, on which models."""

    id: _Id | None = Field(default=None, description="A session. Left out: all of the last 30 days.")
    models: list[_Text] = Field(default=[], max_length=10, description="Left out: well-known ones.")


class OverviewAsked(_Asked):
    """In which zone days begin."""

    timezone: _Zone = None


class DaysAsked(_Asked):
    """How many days."""

    days: _SomeDays = 1


class WeekAsked(_Asked):
    """How many days."""

    days: _SomeDays = 7


class DailyAsked(_Asked):
    """Which day."""

    days_ago: int = Field(default=0, ge=0, le=20_000, description="0 is today.")


class UsersAsked(_Asked):
    """How many users of which days."""

    limit: int = Field(default=10, ge=1, le=1000)
    days: _SomeDays = 7


class SlowAsked(_Asked):
    """What is slow, and how many of them."""

    min_ms: int = Field(default=5000, ge=0, le=1 << 40)
    days: _SomeDays = 7
    limit: int = Field(default=100, ge=1, le=1000)


class NothingAsked(_Asked):
    """No parameters."""


class LinkAsked(_Asked):
    """Which session."""

    id: _Id


class LiveAsked(_Asked):
    """Which session, where not all."""

    id: _Id | None = None
