"""What was used last, up to a sum of weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Remembered(Generic[_K, _V]):
    """A mapping that forgets what was not used for the longest time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._items: OrderedDict[_K, tuple[_V, int]] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        item = self._items.get(key)
        if item is None:
            return None
        self._items.move_to_end(key)
        return item[0]

    def put(self, key: _K, value: _V, weight: int) -> None:
        old = self._items.pop(key, None)
        self._items[key] = value, weight
        self._weight += weight - (old[1] if old else 0)
        while self._weight > self._limit and len(self._items) > 1:
            self._weight -= self._items.popitem(last=False)[1][1]

    def clear(self) -> None:
        self._items.clear()
        self._weight = 0
