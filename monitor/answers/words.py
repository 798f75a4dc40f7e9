"""An answer in the words that an agent would use to its user."""

from __future__ import annotations

from monitor.answers.amounts import money
from monitor.answers.sessions import Session


def session(answer: Session) -> str:
    """Two sentences and a link."""
    rounds = answer.messages_count or 0
    said = f"This conversation has cost {money(answer.cost)} so far: {rounds:,} rounds"
    if answer.total_tokens is not None:
        said += f" with {answer.total_tokens:,} tokens"
        if answer.total_cached_tokens and answer.total_input_tokens:
            said += f", {answer.total_cached_tokens / answer.total_input_tokens:.0%} of the input from the cache"
    said += "."
    if answer.models:
        share = answer.models[0]
        said += f" Most rounds went to {share.model} ({share.rounds:,})"
        said += f", {answer.failed_rounds} failed." if answer.failed_rounds else "."
    if answer.unpriced is not None:
        said += f" {answer.unpriced.rounds} rounds have no known price ({', '.join(answer.unpriced.models[:3])})."
    if answer.budget is not None:
        said += f" Budget {answer.budget.name}: {answer.budget.text}."
    return f"{said} Details: {answer.url}"
