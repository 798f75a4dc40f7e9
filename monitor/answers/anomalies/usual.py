"""What is usual: medians of the same model, function and hour of the day, or of less where that has too few rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

from monitor.answers.amounts import quoted
from monitor.store.base import Call

#: Fewer rounds say nothing.
LEAST = 20
#: A value is unusual from so many times the median on, and so many spreads from it, both on a logarithmic scale: what
#: calls take and cost is spread by factors, not by differences.
TIMES, SPREADS = 3.0, 4.0
#: The spread is taken to be this at least; where all are alike, every other one would be unusual.
_LEAST_SPREAD = 0.2
#: Makes the median absolute deviation comparable to a standard deviation.
_MAD = 1.4826
_HOUR_MS = 3_600_000
_Key = tuple[str | int | None, ...]
#: Model, currency, function and hour.
_WHOLE_KEY = 4


class Usual(NamedTuple):
    """The middle of what was seen."""

    median: float
    #: Of the natural logarithms.
    spread: float
    size: int
    #: Of what, in words: ``qwen-plus on this function at this hour``.
    of: str

    def exceeded_by(self, value: float) -> bool:
        """Whether a value is far above all this."""
        if value < TIMES * self.median or self.median <= 0:
            return False
        return math.log(value / self.median) >= SPREADS * max(self.spread, _LEAST_SPREAD)

    def said(self, figure: Callable[[float], str], what: str = "rounds") -> str:
        """``usual for qwen-plus at this hour: 3.1 s (median of 412 rounds)``."""
        return f"usual for {self.of}: {figure(self.median)} (median of {self.size:,} {what})"


def summed_up(values: Iterable[float], of: str, least: int = LEAST) -> Usual | None:
    """The middle of some values, or None where there are fewer than `least`."""
    logs = [math.log(value) for value in values if value > 0]
    if len(logs) < least:
        return None
    middle = median(logs)
    spread = _MAD * median(abs(value - middle) for value in logs)
    return Usual(math.exp(middle), spread, len(logs), of)


class Peers:
    """Earlier rounds, and those that are looked at, by model, function and hour of the day.

    Earlier rounds come first: what went wrong all day long must not become what is usual.
    """

    def __init__(self, earlier: Iterable[Call], looked_at: Iterable[Call]) -> None:
        self._sets: list[dict[_Key, list[Call]]] = []
        #: Model or model and function -> the keys that belong to it, of either set.
        self._wider: dict[_Key, set[_Key]] = {}
        for calls in (earlier, looked_at):
            groups: dict[_Key, list[Call]] = {}
            for call in calls:
                groups.setdefault(key_of(call), []).append(call)
            self._sets.append(groups)
            for key in groups:
                for wider in (key[:3], key[:2]):
                    self._wider.setdefault(wider, set()).add(key)

    def of(self, which: int, key: _Key) -> Iterable[Call]:
        """The earlier rounds (`which` is 0) or those that are looked at (1) of a key or of the beginning of one."""
        groups = self._sets[which]
        if len(key) == _WHOLE_KEY:
            return groups.get(key, ())
        return (call for narrow in self._wider.get(key, ()) for call in groups.get(narrow, ()))


class Baseline:
    """What is usual in one figure of a round, by its peers."""

    def __init__(self, figure: Callable[[Call], float | None], peers: Peers) -> None:
        """`figure` gives None for rounds that say nothing."""
        self._figure = figure
        self._peers = peers
        self._found: dict[_Key, Usual | None] = {}
        self._sums: dict[tuple[int, _Key], Usual | None] = {}

    def usual(self, call: Call) -> Usual | None:
        """What is usual for such a call; None where too few are known."""
        key = key_of(call)
        if key not in self._found:
            self._found[key] = self._find(call, key)
        return self._found[key]

    def _find(self, call: Call, key: _Key) -> Usual | None:
        name = "these rounds" if call.model is None else quoted(call.model)
        of_function = f"{name} on this function" if call.function else name
        levels = ((key, f"{of_function} at this hour"), (key[:3], of_function), (key[:2], name))
        # Those most like it first: the same hour, the same function, the same model; then the same among its own days.
        for which in (0, 1):
            for level, of in levels:
                # Kept, because clients can invent any number of functions, and all of them come down to one model.
                if (which, level) not in self._sums:
                    values = filter(None, map(self._figure, self._peers.of(which, level)))
                    self._sums[which, level] = summed_up(values, of)
                found = self._sums[which, level]
                if found is not None:
                    return found
        return None


def key_of(call: Call) -> _Key:
    """What rounds are compared by; in the same currency only, since one of the figures is money."""
    return (call.model, call.currency, call.function, call.started_at // _HOUR_MS % 24)
