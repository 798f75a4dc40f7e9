"""Who is told of a budget or of a silent meter, once: messages go out beside ingestion and never in its way."""

from __future__ import annotations

import logging
import re
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import SecretStr

from monitor.access import private
from monitor.answers.budgets import describe
from monitor.answers.quality import Meter, meters
from monitor.budgets import WHOLE, BudgetBook
from monitor.config import AlertSettings, BudgetSettings
from monitor.store.base import Delivery, Store

log = logging.getLogger("monitor.alerts")

#: Seconds until the next try; after the last one a message has failed for good.
RETRY_AFTER_S = (2, 10, 60, 300, 1800, 3600, 7200, 14400)
_COMMAND_S = 30
_WEBHOOK_S = 15
#: Without news the store is looked at this often: a try may be due.
_LOOK_S = 30.0
#: Meters are looked at this often, and a channel that can't be told of a silent one is tried so many times.
_METERS_LOOK_S = 300.0
_METERS_TRIES = 8
_READ_S = 2.0
_TITLES = {"higress": "The gateway's log is", "openclaw": "OpenClaw's transcripts are"}
#: The file of the data directory that knows which silences were told.
SILENCES = "silences.json"

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
        self,
        store: Store,
        settings: Sequence[BudgetSettings],
        book: BudgetBook,
        link: Link | None = None,
        watch: MeterWatch | None = None,
    ) -> None:
        self._store = store
        self._settings = {budget.name: budget for budget in settings}
        self._book = book
        self._link = link
        self._watch = watch
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send, with what was left over."""
        if self._settings or self._watch is not None:
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
                wait = self.send_due() if self._settings else _LOOK_S
                if self._watch is not None:
                    wait = min(wait, self._watch.look_if_due())
            except Exception as error:  # the store may be busy or full; the next look tries again
                log.warning("what is to be told can't be looked up: %s", error)
                wait = _LOOK_S

    def send_due(self) -> float:
        """Send what is due now; gives the seconds until something may be due again."""
        wait = _LOOK_S
        for delivery in self._store.due(_now_ms()):
            error = again = None
            try:
                self._send(delivery)
            except Exception as failure:
                error = _words(failure)
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


class MeterWatch:
    """Tells of a meter that fell silent while the other runs, once a silence, and when it is back.

    What was told is kept in a file of the data directory, so that a restart repeats nothing.
    """

    def __init__(
        self, store: Store, kinds: Collection[str], settings: AlertSettings, folder: Path, caught_up: Callable[[], bool]
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._settings = settings
        self._file = folder / SILENCES
        self._caught_up = caught_up
        self._next_look = 0.0

    def look_if_due(self) -> float:
        """Look again, if that is due and everything that there is was read; gives the seconds until the next time."""
        now = time.monotonic()
        if now >= self._next_look:
            if not self._caught_up():
                return _READ_S  # a log that waits to be read is no silence
            self._next_look = now + _METERS_LOOK_S
            self.look(_now_ms())
        return self._next_look - now

    def look(self, now: int) -> None:
        """Tell what is to be told at this moment, and write down who was."""
        kept = silences(self._file.parent)
        known_before = msgspec.json.encode(kept)
        over: list[tuple[Meter, Silence]] = []
        for meter in meters(self._store, self._kinds, now, self._settings.silent_minutes * 60_000):
            known = kept.get(meter.kind)
            # What arrives late of the time before is no end of a silence.
            spoke = known is not None and meter.last is not None and meter.last > known.at
            if meter.silent is not None and (known is None or spoke):
                kept[meter.kind] = Silence(at=now, text=meter.words, waiting=dict.fromkeys(self._settings.channels, 0))
            elif known is not None and meter.silent is None and spoke:
                over.append((meter, kept.pop(meter.kind)))
        # Before anybody is told: what can't be written down would be told again and again.
        self._keep(kept, known_before)
        for meter, silence in over:
            self._all_well(meter, silence)
        known_before = msgspec.json.encode(kept)
        for kind, silence in kept.items():
            self._tell(kind, silence)
        self._keep(kept, known_before)

    def _keep(self, kept: dict[str, Silence], before: bytes) -> None:
        now = msgspec.json.encode(kept)
        if now != before:
            private.write(self._file, now)

    def _tell(self, kind: str, silence: Silence) -> None:
        for channel, tries in list(silence.waiting.items()):
            try:
                _tell(self._settings.channels.get(channel), f"{_TITLES[kind]} silent", silence.text, "failure")
            except Exception as failure:
                error = _words(failure)
                again = getattr(failure, "hope", True) and tries + 1 < _METERS_TRIES
                log.warning("%s could not be told of a silent meter (%s)", channel, error)
                silence.failed[channel] = error
                silence.waiting[channel] = tries + 1
                if not again:
                    del silence.waiting[channel]
                continue
            silence.failed.pop(channel, None)
            del silence.waiting[channel]
            silence.sent.append(channel)

    def _all_well(self, meter: Meter, silence: Silence) -> None:
        """Tell whoever heard of the silence that it is over; tried once, as nothing has to be done any more."""
        for channel in silence.sent:
            try:
                text = f"{meter.title}: calls come in again since the silence that was told."
                _tell(self._settings.channels.get(channel), f"{_TITLES[meter.kind]} back", text, "success")
            except Exception as failure:
                log.warning("%s could not be told that a meter is back (%s)", channel, _words(failure))


class Silence(msgspec.Struct):
    """A silence, and who was told of it."""

    at: int
    text: str
    #: Channels that are to be told, and how often that was tried.
    waiting: dict[str, int] = {}
    sent: list[str] = []
    #: Why the last try failed.
    failed: dict[str, str] = {}


def silences(folder: Path) -> dict[str, Silence]:
    """The silences of meters that a data directory knows of; a file that can't be read is as none."""
    try:
        return msgspec.json.decode((folder / SILENCES).read_bytes(), type=dict[str, Silence])
    except (OSError, msgspec.DecodeError):
        return {}


def untold_silences(folder: Path) -> list[str]:
    """Channels that could not be told of a silent meter, in words."""
    return [
        f"silent meter: {channel} could not be told: {error}. See `[alerts] notify` in the configuration."
        for silence in silences(folder).values()
        for channel, error in silence.failed.items()
    ]


def _notify(url: SecretStr | None, facts: Mapping[str, Any]) -> None:
    """Tell a channel of a budget."""
    exceeded = bool(facts["exceeded"])
    body = [str(facts.get("text", ""))]
    if facts.get("unpriced_rounds"):
        body.append(f"{facts['unpriced_rounds']} rounds have no price and are not counted.")
    if facts.get("url"):
        body.append(str(facts["url"]))
    title = f"Budget {facts['budget']} {'is used up' if exceeded else 'is running out'}"
    _tell(url, title, "\n".join(body), "failure" if exceeded else "warning")


def _tell(url: SecretStr | None, title: str, body: str, kind: Literal["success", "warning", "failure"]) -> None:
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
        if not channel.notify(title=title, body=body, notify_type=apprise.NotifyType(kind)):
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


def _words(failure: Exception) -> str:
    """Why a message did not arrive. What a channel's own code raises may hold its address: only its kind is told."""
    return str(failure) if isinstance(failure, NotDelivered) else type(failure).__name__


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
