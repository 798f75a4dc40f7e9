"""What the same tokens would have cost on other models, and what those models can't do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from pydantic import Field

from monitor.answers.amounts import money, quoted
from monitor.answers.base import (
    Answer,
    Asking,
    Money,
    Part,
    Unpriced,
    added,
    amount,
    costs,
    nano_sums,
    rfc3339,
    share,
    shown,
    unpriced,
)
from monitor.answers.elsewhere import Work, of_rounds, of_sums
from monitor.answers.errors import BadQuestion
from monitor.answers.periods import last_days
from monitor.answers.sessions import find
from monitor.budgets import Exchange
from monitor.prices import providers
from monitor.store.base import SORT_WEIGHTS, Slice

if TYPE_CHECKING:
    from monitor.prices.catalog import Catalog, Resolution

#: How many rounds of a session are priced anew, and how many models are shown.
MOST_ROUNDS, MOST_MODELS = 5000, 10
#: The days that are looked at where no session is named.
DAYS = 30
#: Models that people know, by their maker: what a session's own models are compared with besides those of the log.
WELL_KNOWN: dict[str, tuple[str, ...]] = {
    "alibaba": ("qwen3.7-max", "qwen3.6-plus", "qwen-flash"),
    "anthropic": ("claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5"),
    "deepseek": ("deepseek-v4-pro", "deepseek-v4-flash"),
    "glm": ("glm-5.1", "glm-5", "glm-4.5-air"),
    "google": ("gemini-2.5-pro", "gemini-3.5-flash", "gemini-3.1-flash-lite"),
    "minimax": ("minimax-m3", "minimax-m2.5"),
    "mistral": ("mistral-large-latest", "mistral-small-latest"),
    "moonshot": ("kimi-k2.6", "kimi-k2.5"),
    "openai": ("gpt-5.6", "gpt-5.4", "gpt-5.4-mini", "gpt-5-mini"),
    "volcengine": ("doubao-seed-2-0-pro", "doubao-seed-1-6-flash"),
    "x-ai": ("grok-4", "grok-4-fast"),
}
_FAMILY = {provider: family for family, lists in providers.FAMILIES.items() for provider in lists.values()}
#: How many of the models in use are shown, where there are many.
_MOST_CURRENT = 5
#: Less than this is no saving worth a word.
_LEAST_SAVING = 0.01


class ComparedModel(Part):
    """The same tokens on one model."""

    model: str
    current: bool | None = Field(default=None, description="One of the models that were used.")
    cost: Money | None = Field(default=None, description="At today's list price; absent where none is known.")
    cost_status: str | None = None
    saving: Money | None = Field(
        default=None, description="Against what the rounds paid in this currency cost; below zero: dearer."
    )
    saving_rate: dict[str, float] | None = Field(default=None, description="The same as a share of what they cost.")
    limits: list[str] = Field(default=[], description="What this model can't do that the rounds needed.")
    context_window: int | None = None
    rate: str | None = Field(default=None, description="By which fixed rate of exchange the saving is told.")
    price_source: str | None = None


class Comparison(Answer):
    """What rounds cost, and what they would have cost elsewhere, the cheapest first."""

    session_id: str | None = None
    since: str | None = None
    rounds: int
    rounds_compared: int = Field(description="The newest rounds with known tokens.")
    cost: Money | None = Field(default=None, description="What the compared rounds cost.")
    unpriced: Unpriced | None = None
    longest_input: int | None = None
    longest_output: int | None = None
    priced_at: str = Field(description="The others are priced at the list prices of this moment.")
    estimated: bool | None = Field(default=None, description="Worked out from sums, at the average length of a round.")
    rows: list[ComparedModel] = []
    check: list[str] = Field(default=[], description="What the price does not tell.")
    advice: str
    url: str | None = None


def compare_models(
    ask: Asking,
    catalog: Catalog,
    session_id: str | None = None,
    models: Sequence[str] | None = None,
    *,
    now_ms: int | None = None,
) -> Comparison:
    """What a session's rounds, or those of the last 30 days, would have cost on `models` or on well-known ones.

    Raises:
        NotFound: there is no such session.
        BadQuestion: too many models.
    """
    if models is not None and len(models) > MOST_MODELS:
        raise BadQuestion(f"{len(models)} models: name {MOST_MODELS} at most")
    at = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    begin = None
    if session_id:
        record = find(ask, session_id)
        session_id = record.session_id or session_id
        total = sum(part.counts.rounds for part in record.slices)
        work = of_rounds(catalog, ask.store.rounds(session_id, limit=MOST_ROUNDS).rounds, total, at)
    else:
        begin = last_days(DAYS, ask.zone)
        work = of_sums(ask.store.slices(begin))
    candidates = _candidates(ask, catalog, work, models, at) if work.compared else {}
    rows = _rows(work, candidates, models, ask.book.exchange)
    return Comparison(
        session_id=session_id or None,
        since=None if begin is None else rfc3339(begin),
        rounds=work.rounds,
        rounds_compared=work.compared,
        cost=costs(work.slices),
        unpriced=unpriced(work.slices),
        longest_input=work.longest_input,
        longest_output=work.longest_output,
        priced_at=rfc3339(at),
        estimated=begin is not None or None,
        rows=rows,
        check=_checks(work, rows),
        advice=_advice(work, rows, bool(session_id)),
        url=ask.url(session_id) if session_id else None,
        **ask.freshness,
    )


# -- other models ---------------------------------------------------------------------------------


def _candidates(
    ask: Asking, catalog: Catalog, work: Work, asked: Sequence[str] | None, at: int
) -> dict[str, Resolution]:
    """The models to compare with, each once: those in use, then the asked ones, or the log's and well-known ones."""
    used = _used(work)
    others: Iterable[str]
    if asked is not None:
        others = asked
    else:
        # Who may see some sessions only is not told which models the others use.
        seen = _by_rounds(ask.store.slices()) if ask.scope is None else []
        makers = dict.fromkeys(_maker(catalog, model, at) for model in used)
        # The log's own models first: whoever runs the gateway has access to them.
        others = chain(seen[: 2 * MOST_MODELS], *(WELL_KNOWN.get(maker or "", ()) for maker in makers))
    found: dict[str, Resolution] = {}
    entries = set()
    for model in (*used, *others):
        price = catalog.price(model, None, at)
        named = model in used or (asked is not None and model in asked)
        # Another name at the same price tells nothing new.
        entry = (price.provider, price.tiers)
        if named or (price.status != "unpriced" and entry not in entries):
            entries.add(entry)
            found[model] = price
    return found


def _used(work: Work) -> list[str]:
    """The models that did the work, the most used first."""
    return _by_rounds(work.slices)


def _by_rounds(slices: Iterable[Slice]) -> list[str]:
    rounds: dict[str, int] = {}
    for part in slices:
        if part.model is not None:
            rounds[part.model] = rounds.get(part.model, 0) + part.counts.rounds
    return sorted(rounds, key=lambda model: (-rounds[model], model))


def _maker(catalog: Catalog, model: str, at: int) -> str | None:
    """Who made a model, as far as its name says it; else who serves it."""
    maker = providers.of_family(model.rpartition("/")[2].lower())
    if maker is None:
        provider = catalog.price(model, None, at).provider
        maker = _FAMILY.get(provider or "", provider)
    return maker


def _rows(
    work: Work, candidates: dict[str, Resolution], asked: Sequence[str] | None, exchange: Exchange
) -> list[ComparedModel]:
    """The models in use, the asked ones, and of the others as many of the cheapest as there is room for."""
    used = _used(work)
    actual = nano_sums(work.slices)
    found: list[tuple[float, ComparedModel]] = []
    for model, price in candidates.items():
        current = model in used or None
        if price.status == "unpriced":
            found.append((float("inf"), ComparedModel(model=model, current=current, cost_status="unpriced")))
            continue
        there = work.cost_on(model, price)
        currency = price.currency or "USD"
        saved = {}
        for paid_in, nano in actual.items():
            # Nothing is nothing in any money; else only the same money can be compared, or what has a rate.
            instead = exchange.convert(there.by_paid.get(paid_in, 0), currency, paid_in)
            if price.status == "free" or instead is not None:
                saved[paid_in] = nano - (instead or 0)
        row = ComparedModel(
            model=model,
            current=current,
            cost=shown({currency: there.nano}),
            cost_status=None if there.status == "priced" else there.status,
            saving=shown(saved),
            saving_rate={c: rate for c, nano in saved.items() if (rate := share(nano, actual[c])) is not None} or None,
            limits=_limits(work, price),
            context_window=price.context_window,
            rate=next(filter(None, (exchange.rate(currency, c) for c in saved if there.nano)), None),
            price_source=price.source,
        )
        found.append((there.nano * SORT_WEIGHTS.get(currency, 1.0), row))
    found.sort(key=lambda pair: (pair[0], pair[1].model))
    kept = {*used[:_MOST_CURRENT], *(asked or ())}
    for _, row in found:
        if len(kept) < MOST_MODELS:
            kept.add(row.model)
    return [row for _, row in found if row.model in kept]


def _limits(work: Work, price: Resolution) -> list[str]:
    """What a model can't do that the rounds needed, as far as its list says."""
    cached = added(part.counts for part in work.slices).cached_tokens
    limits = []
    window, most = price.context_window, price.max_output
    if window is not None and work.longest_input is not None and work.longest_input > window:
        limits.append(f"Its context of {window:,} tokens is shorter than the longest request ({work.longest_input:,}).")
    if most is not None and work.longest_output is not None and work.longest_output > most:
        limits.append(f"It answers with {most:,} tokens at most; the longest answer has {work.longest_output:,}.")
    if cached and price.status != "free" and price.rates is not None and price.rates.cached is None:
        limits.append(f"It has no price for cached input: {cached:,} cached tokens are billed in full.")
    return limits


def _checks(work: Work, rows: Sequence[ComparedModel]) -> list[str]:
    """What whoever changes the model should look at."""
    counts = added(part.counts for part in work.slices)
    checks = []
    if work.compared < work.rounds:
        checks.append(f"{work.compared:,} of {work.rounds:,} rounds are compared: the newest whose tokens are known.")
    paid_in = nano_sums(work.slices).keys()
    if len(paid_in) > 1 and any((row.saving or {}).keys() != paid_in for row in rows):
        checks.append("Savings are against the rounds that were paid in the same currency.")
    missing = unpriced(work.slices)
    if missing is not None:
        checks.append(f"{missing.rounds:,} rounds have no known price and are in no saving.")
    if work.tool_rounds:
        checks.append(f"{work.tool_rounds:,} rounds call tools: try whether the other model calls them as well.")
    if counts.reasoning_tokens:
        checks.append(f"{counts.reasoning_tokens:,} output tokens are reasoning: another model reasons more or less.")
    if counts.cached_tokens:
        checks.append(
            "The same part of the input is taken to come from the cache, which a new model has to fill first."
        )
    if work.longest_input is None and work.compared:
        checks.append("From sums the longest request is not known: name a session to check it against context windows.")
    return checks


# -- advice ---------------------------------------------------------------------------------------


def _advice(work: Work, rows: Sequence[ComparedModel], in_session: bool) -> str:
    if not work.compared:
        where = "this session" if in_session else f"the last {DAYS} days"
        return f"There is nothing to compare: no round of {where} has known tokens."
    actual = nano_sums(work.slices)
    if not any(actual.values()):
        return "These rounds cost nothing, as far as their prices are known."
    # The money of which most was spent.
    currency = max(actual, key=lambda name: actual[name] * SORT_WEIGHTS.get(name, 1.0))
    used = {part.model for part in work.slices if part.price.currency == currency}
    others = [row for row in rows if currency in (row.saving_rate or {}) and used != {row.model}]
    others.sort(key=lambda row: -_rate(row, currency))
    paid = money({currency: amount(actual[currency])})
    whole = paid if len(actual) == 1 else f"the {paid} that were paid in {currency}"
    if not others:
        return f"No other model has a price in {currency} to compare with {whole}; without an exchange rate none can."
    best = others[0]
    if _rate(best, currency) < _LEAST_SAVING:
        return f"Nothing compared is cheaper at list price than {whole}."
    said = f"{_saving(work, best, currency)} than {whole}; its answers were not compared"
    if best.limits:
        said += "".join(f", and {limit[0].lower()}{limit[1:].rstrip('.')}" for limit in best.limits)
        fit = next((row for row in others if not row.limits and _rate(row, currency) >= _LEAST_SAVING), None)
        if fit is not None:
            said += f". Without such limits: {_saving(work, fit, currency)}"
    elif best.context_window is None and work.longest_input is not None:
        said += f", and whether it takes the longest request ({work.longest_input:,} tokens) is not known here"
    return said + "."


def _rate(row: ComparedModel, currency: str) -> float:
    return (row.saving_rate or {}).get(currency, 0.0)


def _saving(work: Work, row: ComparedModel, currency: str) -> str:
    sure = row.cost_status in (None, "free") and work.longest_input is not None
    about = "" if sure else "about "
    rate = f" (at {row.rate})" if row.rate is not None else ""
    return f"{quoted(row.model)} would have cost {about}{_rate(row, currency):.0%} less at list price{rate}"
