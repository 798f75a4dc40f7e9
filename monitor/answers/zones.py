"""Time zones by the names that people give them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from monitor.answers.base import Asking
from monitor.answers.errors import BadQuestion


def named_zone(ask: Asking, timezone: str) -> Asking:
    """The same question with days that begin in another zone.

    Raises:
        BadQuestion: there is no such zone.
    """
    try:
        ZoneInfo(timezone)
    except (LookupError, ValueError, OSError):
        raise BadQuestion(f"{timezone[:60]!r} is no time zone: use an IANA name such as Asia/Shanghai or UTC") from None
    return msgspec.structs.replace(ask, timezone=timezone)
