"""Who is told of a budget, once: messages that wait in the store go out, beside ingestion and never in its way."""

from __future__ import annotations

import logging
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import SecretStr

from monitor.answers.budgets import describe
from monitor.budgets import WHOLE, BudgetBook
from monitor.config import BudgetSettings
from monitor.store.base import Delivery, Store

log = logging.getLogger("monitor.alerts")

#: Seconds until the next try; after the last one a message has failed for good.
RETRY_AFTER_S = (2, 10, 60, 300, 1800, 3600, 7200, 14400)
_COMMAND_S = 30
_WEBHOOK_S = 15
#: Without news the store is looked at this often: a try may be due.
_LOOK_S = 30.0

Link = Callable[[str], str]


class NotDelivered(Exception):
    """A message did not arrive; the text says why and holds no secret."""

    #: Whether another try could change that.
    hope = True


class NobodyThere(NotDelivered):
    """The channel is none: no try can change that, only the configuration."""

    hope = False


class Teller:
    """A thread that sends what waits. Whoever was told is written down in the store, so a restart repeats nothing."""

    def __init__(
        self, store: Store, settings: Sequence[BudgetSettings], book: BudgetBook, link: Link | None = None
    ) -> None:
        self._store = store
        self._settings = {budget.name: budget for budget in settings}
        self._book = book
        self._link = link
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send, with what was left over."""
        if self._settings:
            self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
            self._thread.start()

    def poke(self) -> None:
        """There is something to send."""
        self._news.set()

    def stop(self, timeout: float = 5.0) -> None:
        """Send what is due now, once more and for at most `timeout` seconds, and then no more."""
        self._stop.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        wait, last = 0.0, False
        while not last:
            self._news.wait(wait)
            self._news.clear()
            last = self._stop.is_set()
            try:
                wait = self.send_due()
            except Exception as error:  # the store may be busy or full; the next look tries again
                log.warning("messages about budgets can't be looked up: %s", error)
                wait = _LOOK_S

    def send_due(self) -> float:
        """Send what is due now; gives the seconds until something may be due again."""
        wait = _LOOK_S
        for delivery in self._store.due(_now_ms()):
            error = again = None
            try:
                self._send(delivery)
            except Exception as failure:
                # What a channel's own code raises may hold its address: only its kind is told.
                error = str(failure) if isinstance(failure, NotDelivered) else type(failure).__name__
                if getattr(failure, "hope", True) and delivery.tries < len(RETRY_AFTER_S):
                    again = _now_ms() + RETRY_AFTER_S[delivery.tries] * 1000
                    wait = min(wait, RETRY_AFTER_S[delivery.tries])
                log.warning(
                    "budget %s: %s could not be told (%s)%s",
                    delivery.budget,
                    delivery.channel,
                    error,
                    "" if again is None else f", next try in {RETRY_AFTER_S[delivery.tries]} s",
                )
            self._store.delivered(delivery, error=error, again_at=again)
        return wait

    def _send(self, delivery: Delivery) -> None:
        settings = self._settings.get(delivery.budget)
        facts = self.facts(delivery)
        if settings is None:
            raise NobodyThere("the budget is not configured any more")
        if delivery.channel == "command":
            _run_command(settings.on_exceeded.command, facts)
        elif delivery.channel == "webhook":
            _post(settings.on_exceeded.webhook, facts)
        else:
            _notify(settings.channels.get(delivery.channel), facts)

    def facts(self, delivery: Delivery) -> Mapping[str, Any]:
        """What a hook gets as JSON: the figures when the share was passed, a sentence, and where to look."""
        facts: dict[str, Any] = msgspec.json.decode(delivery.facts)
        budget = self._book.named(delivery.budget)
        if budget is not None:
            slot = str(facts.get(budget.kept_per or "for", ""))
            share = round(facts["used_share"] * WHOLE)
            facts["text"] = describe(budget.limit, share, budget.period, budget.kept_per, slot)
            if budget.kept_per == "session" and self._link is not None:
                facts["url"] = self._link(slot)
        facts["alert_id"] = delivery.alert
        return facts


def _notify(url: SecretStr | None, facts: Mapping[str, Any]) -> None:
    """Through Apprise, which knows Discord, Slack, Telegram, WeCom, DingTalk, Feishu, e-mail and many more."""
    if url is None:
        raise NobodyThere("this channel is not configured any more")
    import apprise  # noqa: PLC0415 - a tenth of a second, and most sessions pass no limit

    # It logs addresses, which hold secrets; what it says is told with them taken out.
    logging.getLogger("apprise").propagate = False
    channel = apprise.Apprise()
    secret = url.get_secret_value()
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]
        if not channel.add(secret):
            raise NobodyThere("its address is none that Apprise understands")
        exceeded = bool(facts["exceeded"])
        body = [str(facts.get("text", ""))]
        if facts.get("unpriced_rounds"):
            body.append(f"{facts['unpriced_rounds']} rounds have no price and are not counted.")
        if facts.get("url"):
            body.append(str(facts["url"]))
        arrived = channel.notify(
            title=f"Budget {facts['budget']} {'is used up' if exceeded else 'is running out'}",
            body="\n".join(body),
            notify_type=apprise.NotifyType.FAILURE if exceeded else apprise.NotifyType.WARNING,
        )
        if not arrived:
            raise NotDelivered(_without_secrets(said.getvalue(), secret) or "the service did not take it")


def _post(url: SecretStr | None, facts: Mapping[str, Any]) -> None:
    if url is None:
        raise NobodyThere("no webhook is configured any more")
    import httpx2  # noqa: PLC0415

    secret = url.get_secret_value()
    try:
        answer = httpx2.post(secret, json=facts, timeout=_WEBHOOK_S)
    except httpx2.HTTPError as error:
        raise NotDelivered(_without_secrets(f"{type(error).__name__}: {error}", secret)) from None
    if not answer.is_success:
        raise NotDelivered(f"it answered with status {answer.status_code}")


def _run_command(command: Sequence[str], facts: Mapping[str, Any]) -> None:
    if not command:
        raise NobodyThere("no command is configured any more")
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(facts), capture_output=True, timeout=_COMMAND_S, check=False
        )
    except (OSError, ValueError) as error:
        raise NotDelivered(f"{command[0]}: {getattr(error, 'strerror', None) or error}") from None
    except subprocess.TimeoutExpired:
        raise NotDelivered(f"{command[0]} was not done after {_COMMAND_S} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NotDelivered(f"{command[0]} ended with {done.returncode}{f': {said[-1][:200]}' if said else ''}")


def _without_secrets(text: str, secret: str) -> str:
    """The last line of what was said, without anything that stands in the address."""
    lines = text.strip().splitlines()
    line = lines[-1] if lines else ""
    for part in sorted(set(re.split(r"[:/@?&=\s]+", secret)), key=len, reverse=True):
        if len(part) >= 6:
            line = line.replace(part, "***")
    return line[:300]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
