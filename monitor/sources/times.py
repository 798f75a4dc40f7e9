"""When a record says that its request started, in any of the forms that access logs use.

Envoy's default is ``2026-02-01T09:30:15.123Z`` (``%START_TIME%``); operators may give any strftime
format, collectors add their own fields. A time without a zone is UTC, as Envoy writes it.
"""

from __future__ import annotations

from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Times before 2015 or after 2080 are damage: neither Envoy nor language models were there.
_EARLIEST_MS = 1_420_070_400_000
_LATEST_MS = 3_471_292_800_000
_FORMATS = (
    "%Y/%m/%dT%H:%M:%S%z",
    "%Y/%m/%d %H:%M:%S%z",
    "%Y/%m/%dT%H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
)


def epoch_ms(value: object) -> int | None:
    """Milliseconds since 1970 from a time in a log record; None where it is not a usable time.

    Takes RFC 3339 with 0 to 9 fraction digits, epoch seconds (also with a fraction) or
    milliseconds to nanoseconds as number or text, and the slash forms that operators like.
    """
    if isinstance(value, str):
        text = value.strip()
        if len(text) < 10 or len(text) > 64:
            return None
        if len(text) > 10 and (text[4] == "-" or text[8] == "T"):
            try:
                return _plausible(_milliseconds(datetime.fromisoformat(text)))
            except ValueError:
                return None
        try:
            return _from_number(float(text))
        except ValueError:
            return _other_format(text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value)
    return None


def _from_number(number: float) -> int | None:
    if not 1e9 <= number < 1e19:
        return None
    while number >= 1e14:  # micro- and nanoseconds
        number /= 1000
    return _plausible(round(number if number >= 1e11 else number * 1000))


def _other_format(text: str) -> int | None:
    for form in _FORMATS:
        try:
            return _plausible(_milliseconds(datetime.strptime(text, form)))
        except ValueError:
            continue
    return None


def _milliseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def _plausible(ms: int) -> int | None:
    return ms if _EARLIEST_MS <= ms <= _LATEST_MS else None
