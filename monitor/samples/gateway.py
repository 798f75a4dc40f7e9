"""A gateway at work: several agents talk at once, and a line is written when an answer is complete."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence

from monitor.samples.expected import Expected, Line
from monitor.samples.messages import say_answer, say_question, say_results, say_system
from monitor.samples.profiles import DAY, HOUR, MODELS, Client, Model, Profile
from monitor.samples.records import foreign_line, other_line, round_line
from monitor.samples.texts import Language, exchanges, result_lines, system_prompt
from monitor.samples.turns import FAILURES, WELL, Outcome, Session, Turn
from monitor.samples.wire import NEWLINE, seeded, uuid_text, wire


class Gateway:
    """Several sessions at once; each goes on when its last answer has come."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.random = seeded(f"{profile.name}:{seed}")
        self.active: set[str] = set()
        self.begun = 0
        self.queue: list[tuple[int, int, Turn]] = []
        self.order = 0
        names, weights = zip(*profile.models, strict=True)
        self.models: Sequence[str] = names
        self.model_weights = list(itertools.accumulate(weights))
        self.client_weights = list(itertools.accumulate(c.weight for c in profile.clients))

    def run(self) -> Iterator[Line]:
        """Lines in the order in which their answers were complete."""
        profile, r = self.profile, self.random
        for _ in range(profile.sessions):
            self._begin(profile.start + int(r.random() * profile.session_pause))
        noise = profile.non_ai_share + profile.foreign_share
        while self.queue:
            now, _, turn = heapq.heappop(self.queue)
            if noise:
                while (dice := r.random()) < noise:
                    yield foreign_line(now, r) if dice < profile.foreign_share else other_line(now, r)
            yield round_line(turn, profile.mode, r)
            self._go_on(turn, now)

    # -- sessions --

    def _begin(self, at: int) -> None:
        profile, r = self.profile, self.random
        if profile.total_sessions is not None and self.begun >= profile.total_sessions:
            return
        self.begun += 1
        if profile.nights and not 6 <= at % DAY // HOUR < 20 and r.random() < 0.85:
            evening = at % DAY >= 20 * HOUR
            at += -(at % DAY) + (DAY if evening else 0) + 6 * HOUR + int(r.random() * 4 * HOUR)
        client, key = self._client()
        if client.models:
            name = r.choice(client.models)
        else:
            name = r.choices(self.models, cum_weights=self.model_weights)[0]
        model = MODELS.get(name) or Model(name, "openai", "other")
        conversation = key if key is not None and client.openclaw else f"headerless-{self.begun}"
        language: Language = "zh" if r.random() < profile.chinese_share else "en"
        session = Session(
            key=None if key is None or r.random() < profile.sessionless_share else key,
            name=key,
            conversation=conversation,
            client=client,
            model=model,
            language=language,
            number=str(100 + int(r.random() * 9900)),
            consumer=r.choice(profile.consumers) if profile.consumers else "",
            route=f"{r.choice(profile.routes)}-{model.provider}.internal",
            left=max(1, round(profile.turns * (1 + profile.turns_spread * (2 * r.random() - 1)))),
            system=system_prompt(language, profile.system_prompt_bytes),
            # A Gemini request has "contents" instead of "messages", and the plugin does not log those.
            spoken=profile.mode == "full" and model.shape != "gemini",
            topic=int(r.random() * 60),
            logged_key=wire(key or ""),
        )
        if key is not None:
            self.active.add(key)
        session.context = profile.system_prompt_bytes // 4 + profile.tool_definition_tokens
        if session.spoken:
            say_system(session)
        self._ask(session)
        self._send(session, at)

    def _client(self) -> tuple[Client, str | None]:
        r = self.random
        for _ in range(20):
            client = r.choices(self.profile.clients, cum_weights=self.client_weights)[0]
            if client.key is None:
                return client, None
            key = client.key
            if "{" in key:
                key = key.replace("{uuid}", uuid_text(r)).replace("{n}", str(r.randrange(10, 14)))
            if key not in self.active:
                return client, key
        return client, f"agent:main:subagent:{uuid_text(r)}"

    def _end(self, session: Session, now: int) -> None:
        if session.name is not None:
            self.active.discard(session.name)
        self._begin(now + int(self.random.expovariate(1 / max(1, self.profile.session_pause))))

    # -- conversations --

    def _ask(self, session: Session) -> None:
        """The user says something."""
        known = exchanges(session.language)
        # Seven has no factor in common with their numbers: all come up before one comes again.
        exchange = known[(session.topic + 7 * session.asked) % len(known)]
        session.exchange = exchange
        session.asked += 1
        session.users += 1
        if not session.spoken:
            session.context += 30 + int(self.random.random() * 120)
        else:
            say_question(session, exchange.question, self.random)

    def _go_on(self, turn: Turn, now: int) -> None:
        session, r = turn.session, self.random
        session.left -= 1
        if session.left <= 0:
            self._end(session, now)
            return
        if turn.outcome is not WELL:
            # The agent sends the same request again.
            self._send(session, now + 2000 + int(r.random() * 8000))
            return
        session.seen = session.context
        if not session.spoken:
            session.context += turn.output - turn.thinking
            if turn.call_ids:
                session.users += session.model.shape == "anthropic"
                session.context += 40 + int(r.random() * 60 * self.profile.tool_result_lines)
        else:
            say_answer(turn)
            if turn.call_ids:
                say_results(turn, self._results(turn))
        if turn.call_ids:
            self._send(session, now + 150 + int(r.random() * 4000))
        else:
            self._ask(session)
            self._send(session, now + 1000 + int(r.expovariate(1 / max(1, self.profile.pause))))

    def _results(self, turn: Turn) -> list[str]:
        """What the tools that the answer calls put out."""
        r, mean = self.random, self.profile.tool_result_lines
        return [
            NEWLINE.join(r.choices(result_lines(kind), k=1 + int(r.random() * 2 * mean))) for _, _, kind in turn.calls
        ]

    # -- requests --

    def _send(self, session: Session, at: int) -> None:
        profile, random01 = self.profile, self.random.random
        model, exchange = session.model, session.exchange
        assert exchange is not None
        stream = random01() < profile.stream_share
        outcome: Outcome = WELL
        metered = True
        if random01() < profile.failure_share:
            outcome = FAILURES[int(random01() * len(FAILURES))]
            stream = stream or outcome[3] == "cut"
        elif stream and random01() < profile.unmetered_share:
            metered = False
        bits = self.random.getrandbits(112)
        call_ids: tuple[str, ...] = ()
        calls: tuple[tuple[str, str, str], ...] = ()
        if random01() < profile.tool_turn_share:
            prefix = "toolu_01" if model.shape == "anthropic" else "call_"
            known = exchange.calls
            both = len(known) > 1 and random01() < 0.15
            call_ids = tuple(f"{prefix}{bits >> 16 * i & (1 << 64) - 1:016x}" for i in range(1 + both))
            calls = tuple(known[(session.left + i) % len(known)] for i in range(1 + both))
        output = 25 + int(random01() * 60) if call_ids else 20 + len(exchange.answer) // 4
        thinking = 0
        if model.thinks and random01() < model.thinks:
            thinking = 16 + int(random01() * 600)
        output += thinking
        first = 250 + int(random01() * 900)
        service = first + output * (6 + int(random01() * 14))
        status, _, _, phase = outcome
        if phase == "error":
            service = 1 + int(random01() * 400) if status != "504" else 60_000
        chat_id = f"{'msg_01' if model.shape == 'anthropic' else 'chatcmpl-'}{bits:028x}"
        turn = Turn(session, at, service, first, stream, outcome, metered, output, thinking, chat_id, call_ids, calls)
        self.order += 1
        # The order breaks ties, so that turns are never compared.
        heapq.heappush(self.queue, (at + service, self.order, turn))


def lines(
    profile: Profile,
    seed: int,
    limit: int | None = None,
    expected: Expected | None = None,
    *,
    until: int | None = None,
) -> Iterator[bytes]:
    """At most `limit` lines of an access log, each with its line end; the same for the same profile and seed.

    Without a limit it goes on until the profile's sessions are used up, which for most profiles is
    never, or until a request begins at the moment `until` or later. `expected` counts along: it
    always covers exactly what has been yielded.
    """
    if limit is not None and limit <= 0:
        return
    for number, line in enumerate(Gateway(profile, seed).run(), 1):
        if until is not None and line.start >= until:
            return
        if expected is not None:
            expected.add(line)
        yield line.data
        if number == limit:
            return
