"""What a call costs by model, for programs that record usage: the usage list in CNY, then all other lists.

`ModelPricing` is the Python interface; `price_of` prices usage records before they are written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.prices.money import NANO
from monitor.rounds import Usage

if TYPE_CHECKING:
    from monitor.prices.catalog import Catalog
    from monitor.prices.rates import Rates

#: The list that is used where nobody names another.
USAGE_LIST = "usage-cny"
_THOUSAND = Decimal(1000)
_UPPER = frozenset(("gpt", "glm", "ai", "vl", "moe"))


class UsagePrices:
    """Price lists as usage records need them; loaded when the first price is asked for."""

    def __init__(self, overlays: Sequence[Path | str] = (USAGE_LIST,), data_dir: Path | None = None) -> None:
        """`overlays`: names of shipped lists and files; the last one wins."""
        self._overlays = tuple(overlays)
        self._data_dir = data_dir

    @cached_property
    def catalog(self) -> Catalog:
        """The lists.

        Raises:
            PriceFileError: a list can't be used.
        """
        from monitor.prices.catalog import Catalog  # noqa: PLC0415 - price lists take time to load

        return Catalog.load(self._overlays, data_dir=self._data_dir)

    def nano(
        self, model: str, usage: Usage, *, host: str | None = None, at: float | None = None
    ) -> tuple[int, str] | None:
        """Nano-units and currency of a call, `at` seconds since 1970; None where no list has a price."""
        moment = time.time() if at is None else at
        cost = self.catalog.cost(model, host, round(moment * 1000), usage)
        return None if cost.nano is None or cost.currency is None else (cost.nano, cost.currency)

    def of(self, record: Mapping[str, Any]) -> tuple[float, str] | None:
        """The cost and currency of a usage record; None where it is unknown."""
        get = record.get
        usage = Usage(
            get("input_tokens"), get("output_tokens"), get("reasoning_tokens"), get("cached_tokens"),
            get("cache_write_tokens"),
        )  # fmt: skip
        priced = self.nano(record["model"], usage, host=get("host"), at=get("timestamp"))
        return None if priced is None else (priced[0] / NANO, priced[1])


_lock = threading.Lock()
_shared: UsagePrices | None = None


def shared() -> UsagePrices:
    """The usage list and all others, loaded once a process."""
    global _shared  # noqa: PLW0603 - one for the process, made when it is first needed
    with _lock:
        if _shared is None:
            _shared = UsagePrices()
        return _shared


class ModelPricing:
    """Prices by model: the usage list of the AI usage monitor first, then the lists that are built in."""

    @staticmethod
    def get_pricing(model: str) -> dict[str, Any] | None:
        """Prices per 1K tokens as of now; None where no list knows the model.

        ``{"input": 0.004, "output": 0.012, "currency": "CNY", "display_name": "Qwen Plus", "source": "…"}``, and
        ``cached`` and ``cache_write`` where the list has a price of their own for them.
        """
        found = shared().catalog.price(model, None, time.time_ns() // 1_000_000)
        if found.rates is None or found.rates.input is None:
            return None
        return {
            "input": _per_thousand(found.rates.input),
            "output": _per_thousand(found.rates.output or Decimal(0)),
            **_caches(found.rates),
            "currency": found.currency,
            "display_name": display_name(model),
            "source": found.source,
        }

    @staticmethod
    def calculate_cost(
        model: str, input_tokens: int, output_tokens: int, cached_tokens: int = 0, cache_write_tokens: int = 0
    ) -> float | None:
        """What a call costs now, in the currency of its list; None where no list knows the model.

        Raises:
            ValueError: the cached part is larger than the input.
        """
        usage = Usage(input_tokens, output_tokens, None, cached_tokens or None, cache_write_tokens or None)
        priced = shared().nano(model, usage)
        return None if priced is None else priced[0] / NANO

    @staticmethod
    def list_models() -> list[str]:
        """The models of the usage list."""
        from monitor.prices import lists, overlay  # noqa: PLC0415

        return sorted({name for row in overlay.load(lists.find(USAGE_LIST)).rows for name in row.match})


def _caches(rates: Rates) -> dict[str, float]:
    pairs = (("cached", rates.cached), ("cache_write", rates.cache_write))
    return {name: _per_thousand(rate) for name, rate in pairs if rate is not None}


def _per_thousand(per_million: Decimal) -> float:
    return float(per_million / _THOUSAND)


def display_name(model: str) -> str:
    """A model's id as people write it: ``qwen-plus`` is ``Qwen Plus``."""
    words = model.rsplit("/", 1)[-1].replace("_", "-").split("-")
    return " ".join(word.upper() if word in _UPPER else word[:1].upper() + word[1:] for word in words if word)
