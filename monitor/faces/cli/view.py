"""What the live view shows of a moment: as a screen that fits, and as one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from monitor.answers.budgets import Amount
from monitor.answers.pulse import Pulse
from monitor.answers.sessions import SessionRow
from monitor.faces.cli.look import say
from monitor.faces.cli.main import on_one_line, shown
from monitor.faces.cli.tables import Column, on_a_line, rich_table, text_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_BAR = 20
_WARN_AT, _OVER_AT = 0.8, 1.0


def changing(seen: Pulse) -> object:
    """What a new line is printed for, when it changes."""
    return seen.model_dump(exclude={"at", "as_of", "pace", "behind_bytes", "sources", "ingesting"})


def budget_lines(seen: Pulse) -> list[tuple[float, str]]:
    """``Budget: 6890 / 1000000 (0.7%)`` with the share: of the view, and of each budget that is configured."""
    lines = []
    if seen.budget is not None:
        used = f"{seen.budget.used} / {seen.budget.limit}"
        lines.append((seen.budget.share, f"{say('Budget')}: {used} ({seen.budget.share:.1%})"))
    for state in seen.budgets:
        used = f"{_amount(state.used)} / {_amount(state.limit)}"
        name = on_one_line(" ".join(filter(None, (state.name, state.value))))
        lines.append((state.share, f"{say('Budget')} {name}: {used} ({state.share:.1%})"))
    return lines


def _amount(amount: Amount) -> str:
    if "tokens" in amount:
        return str(amount["tokens"])
    return on_a_line(amount)


def line(seen: Pulse) -> str:
    """Everything in one line."""
    parts = [
        say("{number} sessions", number=f"{seen.total_sessions:,}"),
        say("{number} rounds", number=f"{seen.totals.rounds:,}"),
        say("{number} tokens", number=text_of("count", seen.totals.total_tokens)),
        on_a_line(seen.totals.cost),
        say("{number} tokens/min", number=f"{seen.pace.tokens:,.0f}"),
    ]
    if seen.pace.cost:
        parts.append(say("{cost}/min", cost=on_a_line(seen.pace.cost)))
    if seen.cache_hit_rate is not None:
        parts.append(say("{share} of the input from the cache", share=f"{seen.cache_hit_rate:.0%}"))
    if seen.totals.failed_rounds:
        parts.append(say("failed rounds: {number}", number=f"{seen.totals.failed_rounds:,}"))
    if seen.behind_bytes:
        parts.append(say("{bytes} bytes to read", bytes=f"{seen.behind_bytes:,}"))
    parts += [text for _, text in budget_lines(seen)]
    return f"{seen.at}  " + "  ".join(parts)


def screen(seen: Pulse, zone: ZoneInfo) -> Callable[[int, int], RenderableType]:
    """A drawing of `seen` for any width and height."""
    return lambda width, height: _screen(seen, zone, width, height)


def _screen(seen: Pulse, zone: ZoneInfo, width: int, height: int) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415 - only a terminal needs it

    above, below = _above(seen, zone), _below(seen, zone)
    room = height - len(above) - len(below) - 2
    if room < 3:  # a very low terminal shows sessions first
        below = []
        room = height - len(above) - 2
    rows: list[SessionRow] = []
    for row in seen.sessions:
        room -= max(1, len(row.cost or ()))
        if room < 0:
            break
        rows.append(row)
    table = rich_table(_columns(), rows, width, zone=zone, fold=False) if rows else None
    lines = [_cut(text, width) for text in above]
    middle: list[RenderableType] = [table] if table is not None else [_cut(_text(_name(row)), width) for row in rows]
    if not rows:
        middle = [_cut(_text(say("No session yet: session-monitor doctor says what is missing."), "dim"), width)]
    used = len(lines) + sum(max(1, len(row.cost or ())) for row in rows) + 2
    gap = [_text("")] * max(0, height - used - len(below)) if below else []
    return Group(*lines, *middle, *gap, *(_cut(text, width) for text in below))


def _columns() -> list[Column[SessionRow]]:
    return [
        Column("session_id", "session", "text", lambda s: s.session_id),
        Column("model", "model", "text", lambda s: s.model, 5),
        Column("rounds", "rounds", "count", lambda s: s.messages_count, 3),
        Column("failed_rounds", "failed", "count", lambda s: s.failed_rounds or None, 7),
        Column("total_tokens", "tokens", "count", lambda s: s.total_tokens),
        Column("cost", "cost", "money", lambda s: s.cost),
        Column("updated_at", "updated", "time", lambda s: s.updated_at, 4),
    ]


def _above(seen: Pulse, zone: ZoneInfo) -> list[Text]:
    now = f"{datetime.fromisoformat(seen.at).astimezone(zone):%H:%M:%S}"
    title = f"session-monitor  {now}  " + say("q ends it")
    if seen.session_key is not None:
        title += f"  {on_one_line(seen.session_key)}"
    totals = [
        say("{number} sessions", number=f"{seen.total_sessions:,}"),
        say("{number} rounds", number=f"{seen.totals.rounds:,}"),
        say("{number} tokens", number=text_of("count", seen.totals.total_tokens)),
        on_a_line(seen.totals.cost),
    ]
    pace = [say("{number} tokens/min", number=f"{seen.pace.tokens:,.0f}")]
    if seen.pace.cost:
        pace.append(say("{cost}/min", cost=on_a_line(seen.pace.cost)))
    pace.append(say("mean of {minutes} min", minutes=seen.pace.minutes))
    if seen.cache_hit_rate is not None:
        pace.append(say("{share} of the input from the cache", share=f"{seen.cache_hit_rate:.0%}"))
    lines = [_text(title, "bold"), _text("  ".join(totals)), _text("  ".join(pace))]
    for share, budget in budget_lines(seen):
        style = "red" if share >= _OVER_AT else "yellow" if share >= _WARN_AT else "green"
        full = round(min(1.0, share) * _BAR)
        bar = _text("━" * full, style)
        bar.append("─" * (_BAR - full), "dim")
        bar.append(f"  {budget}", style)
        lines.append(bar)
    return [*lines, _text("")]


def _below(seen: Pulse, zone: ZoneInfo) -> list[Text]:
    lines = []
    for failed in reversed(seen.failures):
        when = text_of("time", failed.timestamp, zone)[-5:] if failed.timestamp else "-"
        where = on_one_line(failed.session_id or say("(none)"))
        status = failed.status if failed.status is not None else "-"
        lines.append(
            _text(
                f"{when} {say('FAILED')} {status}  {on_one_line(failed.model or '-')}  {where} #{failed.round}", "red"
            )
        )
    for source in seen.sources:
        if not source.exists:
            state, style = say("does not exist yet"), "yellow"
        elif source.pending_bytes:
            state, style = say("{bytes} bytes to read", bytes=f"{source.pending_bytes:,}"), "yellow"
        else:
            state, style = say("read to its end"), "dim"
        lines.append(_text("; ".join([f"{state}: {shown(source.path)}", *map(shown, source.problems)]), style))
    if seen.failure is not None:
        lines.append(_text(shown(seen.failure), "red"))
    elif not seen.ingesting:
        lines.append(_text(say("No process reads the logs now."), "yellow"))
    return [_text(""), *lines] if lines else []


def _name(row: SessionRow) -> str:
    tokens = text_of("count", row.total_tokens)
    return f"{on_one_line(row.session_id)}  {tokens}  {on_a_line(row.cost)}".replace("\n", " ")


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text  # noqa: PLC0415

    return Text(text.replace("\n", " "), style=style, no_wrap=True)


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text
