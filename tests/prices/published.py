"""The installed lists of genai-prices in the form in which the library publishes them."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, time
from decimal import Decimal
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ClauseAnd, ClauseOr, ModelPrice


def published(**changes: Decimal) -> list[Any]:
    """All providers; `changes` are other input prices of OpenAI's models, with ``_`` for ``-`` and ``.``."""
    document = [_plain(provider) for provider in providers]
    openai = next(provider for provider in document if provider["id"] == "openai")
    for model in openai["models"]:
        price = changes.get(model["id"].replace("-", "_").replace(".", "_"))
        if price is not None:
            model["prices"] = {**model["prices"], "input_mtok": float(price)}
    return document


def as_file(document: list[Any]) -> bytes:
    """The bytes of it."""
    return json.dumps(document).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, ClauseOr):
        return {"or": _plain(value.or_)}
    if isinstance(value, ClauseAnd):
        return {"and": _plain(value.and_)}
    if isinstance(value, ModelPrice):
        return {key: _plain(price) for key, price in vars(value).items() if price is not None}
    if dataclasses.is_dataclass(value):
        given = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value) if field.init}
        # What is left out of a file is what the library takes for granted; usage is not read from it here.
        return {key: _plain(part) for key, part in given.items() if part is not None and key != "extractors"}
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
