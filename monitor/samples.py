"""Sample Higress logs: shaped like real ones, the same for the same seed, with the exact totals in them.

`lines` plays a gateway: several agents talk at once, each request carries the whole conversation so
far, and a line is written when its answer is complete. `Expected` counts along, so that what a
reader finds can be compared with what was put in. `Writer` puts lines into a file as Envoy does.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import itertools
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

Mode = Literal["full", "lite", "bare"]
Shape = Literal["openai", "compact", "plain", "anthropic", "gemini"]
Language = Literal["en", "zh"]

QUARTER_HOUR_MS = 900_000
_SECOND = 1000
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR


_Key = TypeVar("_Key")

# --- What the gateway serves -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Model:
    """A model behind the gateway and how its provider reports tokens.

    - ``openai``: details in full; cached tokens inside input, reasoning inside output.
    - ``compact``: details with only the cached and the reasoning tokens (Qwen, GLM, DeepSeek).
    - ``plain``: no details at all.
    - ``anthropic``: native ``/v1/messages``; cache reads and writes beside input, only in the details.
    - ``gemini``: native ``generateContent``; thoughts beside output, only in the details.
    """

    name: str
    shape: Shape = "openai"
    provider: str = "openai"
    #: Share of the answers that think first.
    thinks: float = 0.0
    #: Whether the thoughts are in the answer as text (``reasoning_content``).
    shows_reasoning: bool = False

    @property
    def host(self) -> str:
        """The gateway's name for the service behind, as in ``upstream_cluster``."""
        return f"llm-{self.provider}.internal.dns"


MODELS: dict[str, Model] = {
    m.name: m
    for m in (
        Model("gpt-5.4", "openai", "openai", thinks=0.8),
        Model("gpt-5.4-mini", "openai", "openai", thinks=0.2),
        Model("claude-sonnet-4-6", "anthropic", "claude"),
        Model("qwen3.5-plus", "compact", "aliyun", thinks=0.5, shows_reasoning=True),
        Model("glm-5", "compact", "zhipu", thinks=0.4, shows_reasoning=True),
        Model("deepseek-chat", "compact", "deepseek"),
        Model("kimi-k2.5", "plain", "moonshot", thinks=0.5, shows_reasoning=True),
        Model("gemini-2.5-pro", "gemini", "gemini", thinks=0.9),
        Model("in-house-7b", "plain", "in-house"),
    )
}


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends requests: `key` is the session id it sends, with ``{uuid}`` and ``{n}`` filled in.

    None sends none. A key without a blank is one lasting session that starts a fresh context now
    and then, as after OpenClaw's ``/new``.
    """

    key: str | None
    weight: float = 1.0
    #: OpenClaw ends the first user message with a line that names the session.
    openclaw: bool = True
    user_agent: str = "OpenAI/JS 7.15.0"
    models: tuple[str, ...] = ()


_OPENCLAW_CLIENTS = (
    Client("agent:main:main", 3),
    Client("agent:main:discord:channel:1480012345678901234", 2),
    Client("agent:main:discord:channel:1480012345678905678", 1),
    Client("agent:research:telegram:group:-1002003004005", 2),
    Client("agent:main:cron:nightly-report", 1),
    Client("agent:main:subagent:{uuid}", 2),
    Client("agent:coder:slack:channel:c0{n}", 2),
    Client("agent:main:explicit:trip-planning", 1),
)


# --- Profiles ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What to generate. Shares are between 0 and 1; times are milliseconds."""

    name: str
    #: What the ``ai_log`` holds: with conversations, the Console's default without, or config ``{}``.
    mode: Mode = "full"
    #: Requests per session, on average, and how far a session may be from it.
    turns: int
    turns_spread: float = 0.3
    #: Sessions that talk at the same time.
    sessions: int = 8
    #: Sessions in all; None goes on for ever.
    total_sessions: int | None = None
    system_prompt_bytes: int = 2000
    #: Tokens that every request has besides its messages: the definitions of the tools.
    tool_definition_tokens: int = 150
    #: Share of the answers that call a tool.
    tool_turn_share: float = 0.4
    #: Lines in a tool's result, on average.
    tool_result_lines: int = 8
    stream_share: float = 0.7
    failure_share: float = 0.02
    #: Share of the streams that ended well but never said what they used.
    unmetered_share: float = 0.01
    #: Share of the sessions of any client that send no session id.
    sessionless_share: float = 0.02
    non_ai_share: float = 0.03
    foreign_share: float = 0.002
    #: Name and weight; a name that `MODELS` does not hold is served in the ``openai`` shape.
    models: tuple[tuple[str, float], ...] = (("gpt-5.4", 1.0),)
    clients: tuple[Client, ...] = (Client("agent:main:explicit:{uuid}"), Client("{uuid}", openclaw=False))
    #: Empty where the gateway is not told to log who called.
    consumers: tuple[str, ...] = ()
    #: Prefixes of route names.
    routes: tuple[str, ...] = ("ai-route",)
    chinese_share: float = 0.3
    start: int = 1_769_938_200_000  # 2026-02-01T09:30:00Z
    #: Between an answer and the next question, on average.
    pause: int = 20 * _SECOND
    #: Between a session's end and the start of the one that takes its place, on average.
    session_pause: int = 60 * _SECOND
    #: People sleep: most sessions that would begin at night wait for the morning.
    nights: bool = False


_EVERYDAY_MODELS = (
    ("gpt-5.4", 3.0),
    ("gpt-5.4-mini", 2.0),
    ("claude-sonnet-4-6", 2.0),
    ("qwen3.5-plus", 2.0),
    ("glm-5", 1.0),
    ("deepseek-chat", 1.0),
)

#: Lines of about 2 KB: a question or two.
SHORT = Profile(
    name="short",
    turns=2,
    sessions=64,
    system_prompt_bytes=60,
    clients=(Client("{uuid}", openclaw=False),),
    tool_turn_share=0.0,
    models=_EVERYDAY_MODELS,
)
#: Lines of about 22 KB on average: sessions of 50 requests.
MEDIUM = Profile(
    name="medium",
    turns=50,
    turns_spread=0.1,
    sessions=8,
    system_prompt_bytes=5000,
    tool_definition_tokens=3000,
    tool_turn_share=0.5,
    tool_result_lines=5,
    models=_EVERYDAY_MODELS,
)
#: Lines of about 190 KB on average: long agent runs with large tool results.
LONG = Profile(
    name="long",
    turns=220,
    turns_spread=0.05,
    sessions=2,
    system_prompt_bytes=26_000,
    tool_definition_tokens=8000,
    tool_turn_share=0.7,
    tool_result_lines=18,
    models=_EVERYDAY_MODELS,
)
#: The Console's default: no conversations, lines of about 1.3 KB.
LITE = Profile(name="lite", mode="lite", tool_definition_tokens=3000, turns=20, sessions=32, models=_EVERYDAY_MODELS)
#: Config ``{}``: details as objects, no conversations.
BARE = replace(LITE, name="bare", mode="bare")
#: Two weeks of a small team, with a bit of everything.
DEMO = Profile(
    name="demo",
    turns=14,
    sessions=5,
    total_sessions=130,
    system_prompt_bytes=3000,
    tool_definition_tokens=7000,
    tool_turn_share=0.45,
    tool_result_lines=6,
    failure_share=0.03,
    unmetered_share=0.005,
    sessionless_share=0.0,
    models=(
        ("gpt-5.4", 3.0),
        ("gpt-5.4-mini", 2.0),
        ("claude-sonnet-4-6", 3.0),
        ("qwen3.5-plus", 2.0),
        ("glm-5", 1.0),
        ("deepseek-chat", 1.5),
        ("kimi-k2.5", 1.0),
        ("gemini-2.5-pro", 1.0),
    ),
    clients=(
        *_OPENCLAW_CLIENTS,
        # The one client that sends no session id, and the one model that no price list knows.
        Client(None, 1, False, "python-httpx/0.28.1", ("deepseek-chat", "gpt-5.4-mini")),
        Client("batch-summaries", 1, False, "python-httpx/0.28.1", ("in-house-7b",)),
    ),
    consumers=("platform", "research", "travel-desk"),
    pause=45 * _SECOND,
    session_pause=9 * _HOUR,
    nights=True,
)

PROFILES: dict[str, Profile] = {p.name: p for p in (SHORT, MEDIUM, LONG, LITE, BARE, DEMO)}


# --- What must be found ------------------------------------------------------------------------


@dataclass(slots=True)
class Totals:
    """Sums over rounds. Tokens are inclusive: input holds both cache counts, output holds reasoning."""

    rounds: int = 0
    failed: int = 0
    #: Rounds without any token counts.
    unmetered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0

    def as_json(self) -> dict[str, int]:
        """The sums by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(slots=True)
class Expected:
    """Exactly what a right reader finds in the lines that `lines` has yielded so far.

    None stands for a session id or a model that the log does not say. `cells` is keyed by model,
    host (the last part of ``upstream_cluster``) and start of the quarter hour in which the request
    started.
    """

    lines: int = 0
    bytes: int = 0
    #: Lines of the access log that are no model requests (``"ai_log":"-"``).
    non_ai: int = 0
    #: Lines that are not of the access log.
    foreign: int = 0
    total: Totals = field(default_factory=Totals)
    sessions: dict[str | None, Totals] = field(default_factory=dict)
    models: dict[str | None, Totals] = field(default_factory=dict)
    cells: dict[tuple[str | None, str, int], Totals] = field(default_factory=dict)
    #: Rounds without a session id by the conversation they truly belong to: the key in OpenClaw's
    #: ``Runtime:`` line where there is one, else a name that no line mentions.
    headerless: dict[str, Totals] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; mappings as sorted rows, because JSON keys cannot be null."""
        return {
            "lines": self.lines,
            "bytes": self.bytes,
            "non_ai": self.non_ai,
            "foreign": self.foreign,
            "total": self.total.as_json(),
            "sessions": [{"session_id": k, **t.as_json()} for k, t in _sorted(self.sessions)],
            "models": [{"model": k, **t.as_json()} for k, t in _sorted(self.models)],
            "cells": [
                {"model": model, "host": host, "quarter": quarter, **t.as_json()}
                for (model, host, quarter), t in sorted(
                    self.cells.items(), key=lambda item: (item[0][2], item[0][1], item[0][0] or "")
                )
            ],
            "headerless": [{"conversation": k, **t.as_json()} for k, t in sorted(self.headerless.items())],
        }

    def _add(self, line: _Line) -> None:
        self.lines += 1
        self.bytes += len(line.data)
        if line.kind == "foreign":
            self.foreign += 1
            return
        if line.kind == "non_ai":
            self.non_ai += 1
            return
        cell = (line.model, line.host, line.start - line.start % QUARTER_HOUR_MS)
        holders = [
            self.total,
            _held(self.sessions, line.session_id),
            _held(self.models, line.model),
            _held(self.cells, cell),
        ]
        if line.session_id is None:
            holders.append(_held(self.headerless, line.conversation))
        used = line.used
        for totals in holders:
            totals.rounds += 1
            totals.failed += line.failed
            if used is None:
                totals.unmetered += 1
                continue
            totals.input_tokens += used[0]
            totals.output_tokens += used[1]
            totals.reasoning_tokens += used[2]
            totals.cached_tokens += used[3]
            totals.cache_write_tokens += used[4]


def _held(totals: dict[_Key, Totals], key: _Key) -> Totals:
    found = totals.get(key)
    if found is None:
        found = totals[key] = Totals()
    return found


def _sorted(totals: dict[str | None, Totals]) -> list[tuple[str | None, Totals]]:
    return sorted(totals.items(), key=lambda item: (item[0] is not None, item[0] or ""))


# --- How Go and Envoy write it -----------------------------------------------------------------

_GO_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def go_text(text: str) -> str:
    """The body of a JSON string as Go's encoder writes it, which is what ``ai_log`` is made with."""
    return json.dumps(text, ensure_ascii=False)[1:-1].translate(_GO_HTML)


def _wire(text: str) -> str:
    """The body of a string inside ``ai_log`` as it stands in the file: escaped twice."""
    return go_text(go_text(text))


# In the file, a quote of ai_log's own JSON and one of a JSON text inside it.
_Q = '\\"'
_QQ = '\\\\\\"'
_NEWLINE = "\\\\n"


@dataclass(slots=True)
class _Line:
    """One line, and what it says."""

    data: bytes
    kind: Literal["round", "non_ai", "foreign"] = "round"
    session_id: str | None = None
    conversation: str = ""
    model: str | None = None
    host: str = ""
    start: int = 0
    failed: bool = False
    #: Inclusive input and output, reasoning, cache reads, cache writes.
    used: tuple[int, int, int, int, int] | None = None


@functools.lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M")


def _time(ms: int) -> str:
    """A time as Envoy writes it."""
    return f"{_minute(ms // 60_000)}:{ms // 1000 % 60:02d}.{ms % 1000:03d}Z"


# --- What is said ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A question, what may be looked up for it, and the answer. ``@@`` stands for a number."""

    question: str
    reasoning: str
    answer: str
    #: Name of the tool, its arguments as JSON, and the kind of its result.
    calls: tuple[tuple[str, str, str], ...]


def _call(name: str, result: str, **arguments: object) -> tuple[str, str, str]:
    text = json.dumps(arguments, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return name, text, result


_ENGLISH = (
    _Exchange(
        'Job @@ in CI fails about one time in five with "timed out waiting for lock". Can you find out why?',
        "A lock that only sometimes times out points to two workers sharing one path. Check the fixture scope first.",
        "Two workers share `/tmp/cache.lock`, because the fixture is session scoped but the path is "
        "fixed. Use the worker's own directory:\n\n```python\n@pytest.fixture\n"
        "def cache(tmp_path):\n"
        '    return Cache(tmp_path / "cache.lock")\n```\nI ran it 50 times: no failures.',
        (
            _call("read", "code", path="tests/conftest.py"),
            _call("exec", "test", command="pytest -x -k lock --count 20 2>&1 | tail -n 40"),
        ),
    ),
    _Exchange(
        "The disk on build-@@.example.com is at 97%. What is safe to delete?",
        "Look at the large directories before suggesting anything; images and old artifacts are the usual cause.",
        "Mostly container layers: 41 GB of images that nothing has used for 30 days, and 12 GB of old "
        "artifacts. `docker image prune --filter until=720h` frees the first part; nothing running needs "
        "them. I have deleted nothing yet.",
        (
            _call("exec", "table", command="du -xh --max-depth=2 /var | sort -h | tail"),
            _call("exec", "log", command="journalctl -u docker --since '2 days ago'"),
        ),
    ),
    _Exchange(
        "How do I get from Oslo to Bergen on Friday with two bikes, arriving before 18:00?",
        "Bikes need a reservation on the long distance trains, so only departures with free bike places count.",
        "Take the 08:25 train; it arrives at 14:57 & has places for bikes left (reservation needed, one "
        "each). The 12:03 arrives at 18:36, which is too late. Shall I draft the booking for ticket "
        "group @@?",
        (
            _call("search_trains", "json", date="2026-02-06", origin="Oslo S", to="Bergen"),
            _call("get_weather", "json", city="Bergen", days=3),
        ),
    ),
    _Exchange(
        "Why is this query slow? SELECT * FROM orders WHERE status <> 'done' AND created_at > now() - interval '1 day'",
        "An index on status alone does not help with <>. A partial index on created_at would.",
        "It reads all @@ thousand rows: `status <> 'done'` cannot use the index on `status`. A partial "
        "index fits, since few orders are open:\n\n```sql\nCREATE INDEX CONCURRENTLY open_orders\n    ON "
        "orders (created_at) WHERE status <> 'done';\n```\nExpect about 3 ms instead of 1.9 s.",
        (
            _call("sql", "table", query="EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM orders WHERE status <> 'done'"),
            _call("sql", "table", query="SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'orders'"),
        ),
    ),
    _Exchange(
        "Summarise the alerts of the night shift for me, please. Only what needs a person.",
        "Most of these resolved by themselves within five minutes. Keep those that did not.",
        "Two things need a person:\n1. The certificate of shop.example.com ends in 6 days; renewal fails "
        "with error @@.\n2. Replica db-3 is 40 minutes behind and not catching up.\n\n"
        "The other 17 alerts went away by themselves.",
        (
            _call("http_get", "json", url="https://alerts.example.com/api/v1/alerts?since=8h&state=any"),
            _call("exec", "log", command="grep -c renew /var/log/certs.log"),
        ),
    ),
    _Exchange(
        "Rename `fetchUser` to `loadUser` everywhere, but leave the public API of package v@@ as it is.",
        "The exported name has to stay, so keep an alias and mark it as deprecated.",
        "Done in 14 files. `index.ts` still exports the old name: `export { loadUser as fetchUser }`, "
        "marked `@deprecated`. Types check, and all 212 tests pass.",
        (
            _call("exec", "code", command="grep -rn fetchUser src --include=*.ts"),
            _call("edit", "code", find="fetchUser(", path="src/session.ts", replace="loadUser("),
            _call("exec", "test", command="npm test -- --silent"),
        ),
    ),
    _Exchange(
        "Pod checkout-@@ has been Pending for twenty minutes. What does it wait for?",
        "Pending without events about images means scheduling: resources, taints or volumes.",
        "It asks for 4 CPUs and no node has more than 3.2 left. Either lower the request to 2 (it has "
        "used at most "
        '1.1 this week) or add a node to pool "general". I would lower the request.',
        (
            _call("exec", "table", command="kubectl describe pod -l app=checkout"),
            _call("exec", "table", command="kubectl top nodes"),
        ),
    ),
    _Exchange(
        "Write a commit message for branch fix-@@, please. Keep it under 60 characters in the first line.",
        "The change is about the lock path, not about the cache itself.",
        "Give every test worker its own cache lock\n\nWorkers shared one fixed path, so that about one "
        "run in five timed out. Fixes #@@.",
        (_call("exec", "code", command="git diff --cached"),),
    ),
    _Exchange(
        "Plan three rainy days in Lisbon with a five-year-old & a budget of 400 €. No more than @@ steps a day :)",
        "Indoors, close together, with breaks. The oceanarium takes half a day.",
        "Day 1: Oceanarium (about 45 €), then the cable car if it stops raining. Day 2: tram museum, and "
        "cake in Belém. Day 3: the science pavilion; it is warm, loud and dry. Together about 260 €, so "
        "there is room for taxis. ☔",
        (
            _call("get_weather", "json", city="Lisbon", days=5),
            _call("web_search", "json", query="Lisbon indoor activities children opening hours"),
        ),
    ),
    _Exchange(
        "Is it safe to upgrade the message broker from 3.11 to 4.0 while consumers are connected?",
        "Rolling upgrades across a major version depend on feature flags being enabled first.",
        "Yes, one node at a time, but enable all feature flags first; 2 of @@ are still off. Consumers "
        "reconnect by themselves within about 10 s. Do not skip 3.13: going from 3.11 to 4.0 directly is "
        "not supported.",
        (
            _call("exec", "table", command="rabbitmqctl list_feature_flags"),
            _call("http_get", "json", url="https://docs.example.com/broker/upgrade.json"),
        ),
    ),
)

_CHINESE = (
    _Exchange(
        "工单 @@：线上接口偶尔返回 502，帮我看看网关日志里是什么原因？",
        "502 只在发布窗口出现，先看上游重置的时间点是否和滚动更新一致。",
        "502 都集中在滚动更新的两分钟内：旧 Pod 收到 SIGTERM 后立刻退出，连接被重置。建议加上 `preStop: "
        "sleep 10`，并把 `terminationGracePeriodSeconds` 调到 30。这样改完之后压测没有再出现 502。",
        (
            _call("exec", "zh", command="grep ' 502 ' access.log | tail -n 50"),
            _call("exec", "table", command="kubectl get events --sort-by=.lastTimestamp"),
        ),
    ),
    _Exchange(
        "把这段 Python 改成异步的，并发不要超过 @@。",
        "用信号量限制并发即可，注意会话要复用。",
        "改好了，用 `asyncio.Semaphore` 控制并发：\n\n```python\nasync def fetch(urls: list[str]) -> "
        "list[bytes]:\n    async with asyncio.TaskGroup() as group:\n        ...\n"
        "```\n同样的 500 个请求从 48 秒降到 6 秒。",
        (
            _call("read", "code", path="scripts/fetch.py"),
            _call("exec", "test", command="python -m pytest tests/test_fetch.py"),
        ),
    ),
    _Exchange(
        "下周三从杭州去成都，两大一小，上午出发，帮我比较一下高铁和飞机。",
        "高铁时间长但免托运，要看带孩子是否方便。",
        "飞机：08:40 起飞，11:50 到，三人合计约 2,430 元（含税）。高铁：07:32 出发，19:05 到，约 1,980 "
        "元。带孩子建议坐飞机，省 8 个小时，只贵 450 元。需要我把方案 @@ 发到群里吗？",
        (
            _call("search_flights", "json", date="2026-02-11", origin="杭州", to="成都"),
            _call("get_weather", "json", city="成都", days=3),
        ),
    ),
    _Exchange(
        "这个 SQL 为什么不走索引？WHERE DATE(created_at) = '2026-01-31' AND shop_id = @@",
        "对列使用函数会让索引失效，改成范围条件。",
        "因为 `DATE(created_at)` 对列做了函数运算。改成范围条件即可：\n\n"
        "```sql\nWHERE created_at >= '2026-01-31'\n  AND created_at < '2026-02-01'\n"
        "```\n再建 `(shop_id, created_at)` 联合索引，耗时从 2.3 秒降到 8 毫秒。",
        (_call("sql", "table", query="EXPLAIN SELECT id FROM orders WHERE DATE(created_at) = '2026-01-31'"),),
    ),
    _Exchange(
        "帮我把今天的日报整理一下，分成“已完成”“进行中”“风险”三部分。",
        "按三个部分归类，风险只写需要别人配合的。",
        "已完成：登录页改版上线；修复 @@ 号缺陷。\n进行中：订单导出（约 70%）。\n风险：支付沙箱证书 2 月 "
        "9 日到期，需要运维同事协助续签。",
        (
            _call("exec", "zh", command="git log --since=today --oneline"),
            _call("read", "zh", path="notes/today.md"),
        ),
    ),
    _Exchange(
        "服务器 203.0.113.24 的内存每天涨一点，重启就好，是不是泄漏？",
        "先看是堆内还是堆外，再看增长是否和某个任务对应。",
        "像是泄漏，但不在堆里：RSS 涨了 1.8 GB，堆只涨了 60 MB。每次执行任务 @@ 都会留下约 12 MB，"
        "原因是图片库没有释放句柄。给 `Image.open` 加上 `with` 之后，连续运行 6 小时内存保持平稳。",
        (
            _call("exec", "table", command="ps -eo pid,rss,cmd --sort=-rss | head"),
            _call("read", "code", path="worker/thumbnail.py"),
        ),
    ),
)

_SYSTEM: dict[Language, tuple[str, ...]] = {
    "en": (
        "You are a careful assistant with access to tools. Say what you did and what you did not do.",
        "Before you change a file, read it. Prefer the smallest change that solves the problem, and run the tests.",
        'Never print passwords, tokens or keys. If a command might delete data, ask first & wait for a "yes".',
        '## Tools\n- read: {"path": string} -> text of a file\n- exec: {"command": string} -> output '
        "and exit code\n"
        '- edit: {"path": string, "find": string, "replace": string}',
        "Answer in the language of the question. Keep answers short; use a list where there are more than two things.",
        "When a tool fails, read its message <stderr> before you try again, and do not try the same thing three times.",
        "## Workspace\nNotes are in `notes/`, one file per day. The user works from 08:00 to 18:00 UTC; "
        "outside of that, only send what cannot wait.",
        "For travel questions, give times in local time with the 24-hour clock, and prices with taxes.",
    ),
    "zh": (
        "你是一名细心的助手，可以使用工具。请说明做了什么、没有做什么。",
        "修改文件之前先阅读；优先选择能解决问题的最小改动，并运行测试。",
        "不要输出密码、令牌或密钥。可能删除数据的命令必须先征得“同意”。",
        '## 工具\n- read：{"path": string} -> 文件内容\n- exec：{"command": string} -> 输出与退出码',
        "用提问的语言回答，尽量简短；超过两点时使用列表。",
        "工具失败时先看 <stderr> 的内容再重试，同样的操作不要尝试三次以上。",
        "## 工作区\n笔记在 `notes/` 目录，每天一个文件。用户的工作时间是 9:00 到 18:00，其余时间只发送不能等的内容。",
    ),
}


def _log_line(r: random.Random, i: int) -> str:
    level = ("INFO ", "INFO ", "INFO ", "WARN ", "ERROR")[i % 5]
    what = ("job finished", "lease renewed", "retry in 5s", "slow query", "connection reset by peer")[r.randrange(5)]
    at = f"2026-02-01T{r.randrange(24):02d}:{r.randrange(60):02d}:{r.randrange(60):02d}Z"
    return f"{at} {level} worker-{r.randrange(16)} {what} id={r.randrange(16**8):08x} took={r.randrange(9000)}ms"


def _code_line(r: random.Random, i: int) -> str:
    name = ("order", "session", "cache", "report", "invoice", "ticket")[r.randrange(6)]
    return (
        f"def load_{name}_{r.randrange(100)}(path: Path, limit: int = {i}) -> list[dict[str, int]]:",
        f"    if not {name} or len({name}) > {r.randrange(500)}:",
        f'        raise ValueError(f"bad {name} <{{{name}!r}}> & no default")',
        f"\treturn {{k: v for k, v in {name}.items() if v >= {r.randrange(99)}}}",
        f'src/{name}_{r.randrange(40)}.ts:{r.randrange(900)}:  const {name} = await fetchUser("{name}-{i}");',
        f"    # {name}: see the note of week {r.randrange(52)} about rounding",
    )[i % 6]


def _test_line(r: random.Random, i: int) -> str:
    name = ("lock", "fetch", "rounding", "encoding", "timeout", "resume")[i % 6]
    how = "FAILED" if i % 11 == 0 else "PASSED"
    return f"tests/test_{name}.py::test_{name}_{r.randrange(100)}[{r.randrange(16)}-utf8] {how} [{i % 100:3d}%]"


def _table_line(r: random.Random, i: int) -> str:
    name = ("checkout", "search", "gateway", "worker", "billing")[r.randrange(5)]
    pod = f"{name}-{r.randrange(16**8):08x}-{r.randrange(16**5):05x}"
    return f"{pod:<28}{r.randrange(1, 3)}/2  Running  {i % 9}  {i % 60}d  {r.randrange(900)}Mi"


def _json_line(r: random.Random, i: int) -> str:
    at = f"{r.randrange(6, 22):02d}:{r.randrange(60):02d}"
    row = {"dep": at, "id": r.randrange(10**6), "note": ("direct", "1 change", "<full>")[i % 3]}
    return json.dumps({**row, "price": r.randrange(90, 1900), "seats": r.randrange(80)})


def _chinese_line(r: random.Random, i: int) -> str:
    what = (
        "订单已发货",
        "上游连接被重置，返回 502",
        "缓存命中，跳过查询",
        "开始滚动更新",
        "任务完成，没有异常",
    )[i % 5]
    at = f"2026-02-01 {r.randrange(24):02d}:{r.randrange(60):02d}"
    return f"{at} 编号 {r.randrange(10**6)} {what}，耗时 {r.randrange(900)} 毫秒"


_RESULTS: dict[str, Callable[[random.Random, int], str]] = {
    "log": _log_line,
    "code": _code_line,
    "test": _test_line,
    "table": _table_line,
    "json": _json_line,
    "zh": _chinese_line,
}


@functools.cache
def _result_lines(kind: str) -> tuple[str, ...]:
    """Lines that tool results are drawn from, already escaped: escaping is what would take the time."""
    r = _random(kind)
    return tuple(_wire(_RESULTS[kind](r, i)) for i in range(300))


@functools.cache
def _escaped(language: Language) -> tuple[_Exchange, ...]:
    """The exchanges as they stand in the file; each protocol escapes the arguments its own way."""
    return tuple(
        _Exchange(_wire(e.question), _wire(e.reasoning), _wire(e.answer), e.calls)
        for e in (_ENGLISH if language == "en" else _CHINESE)
    )


@functools.lru_cache(maxsize=64)
def _system(language: Language, size: int) -> str:
    """A system prompt of about `size` bytes, escaped."""
    parts: list[str] = []
    length = 0
    while length < size or not parts:
        source = _SYSTEM[language]
        part = source[len(parts) % len(source)]
        if len(parts) >= len(source):
            part = f"({len(parts) + 1}) {part}"
        parts.append(part)
        length += len(part.encode()) + 2
    return _wire("\n\n".join(parts))


@functools.lru_cache(maxsize=256)
def _arguments(text: str, protocol: str) -> str:
    """A tool's arguments as a JSON text in a string, or (Anthropic's ``input``) as an object."""
    return go_text(text.translate(_GO_HTML)) if protocol == "object" else _wire(text)


def _random(seed: int | str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same for the same seed is what is wanted


# --- The gateway -------------------------------------------------------------------------------

#: How far a request got: answered in full; answered with an error; never answered in full, so that only
#: what the request said is logged; cut off after the chunk that held the usage.
_Phase = Literal["done", "error", "request", "cut"]

_RESET = "upstream_reset_before_response_started{remote_connection_failure,delayed_connect_error:_111}"
#: Status, response flags, details, how far it got.
_Outcome = tuple[str, str, str, _Phase]
_FAILURES: tuple[_Outcome, ...] = (
    ("429", "-", "via_upstream", "error"),
    ("429", "-", "via_upstream", "error"),
    ("500", "-", "via_upstream", "error"),
    ("400", "-", "via_upstream", "error"),
    ("503", "UH", "no_healthy_upstream", "error"),
    ("503", "UF,URX", _RESET, "error"),
    ("504", "UT", "response_timeout", "error"),
    ("0", "DC", "downstream_remote_disconnect", "request"),
    ("200", "DC", "downstream_remote_disconnect", "request"),
    ("200", "UC", "upstream_reset_after_response_started{connection_termination}", "request"),
    ("200", "DC", "downstream_remote_disconnect", "cut"),
)
_WELL: _Outcome = ("200", "-", "via_upstream", "done")

#: What the gateway serves besides conversations: method, path, status, flags, route, host, details.
_OTHERS = (
    ("GET", "/", "404", "NR", "-", "-", "route_not_found"),
    ("GET", "/healthz", "200", "-", "health", "health.static", "via_upstream"),
    ("GET", "/v1/models", "200", "-", "ai-route-openai.internal", "llm-openai.internal.dns", "via_upstream"),
    ("POST", "/v1/embeddings", "200", "-", "embeddings", "llm-aliyun.internal.dns", "via_upstream"),
    ("POST", "/v1/messages", "401", "-", "ai-route-claude", "llm-claude.internal.dns", "key-auth.no_key"),
    ("POST", "/shop/orders", "201", "-", "shop", "shop.static", "via_upstream"),
)


@dataclass(slots=True)
class _Session:
    key: str | None
    #: The key that its client has for it, even if it does not send it.
    name: str | None
    conversation: str
    client: Client
    model: Model
    language: Language
    number: str
    consumer: str
    route: str
    left: int
    system: str
    #: Whether what is said is logged.
    spoken: bool
    #: Which exchange comes first.
    topic: int
    #: The logged form of the key.
    logged_key: str
    #: The logged form of ``messages``, without its brackets; it only ever grows at its end.
    history: bytearray = field(default_factory=bytearray)
    users: int = 0
    asked: int = 0
    exchange: _Exchange | None = None
    #: The logged value of the last message's content.
    question: str = "null"
    #: Tokens in the context, and those of them that the provider has seen.
    context: int = 0
    seen: int = 0


@dataclass(slots=True)
class _Turn:
    """One request on its way and how it will end."""

    session: _Session
    start: int
    service: int
    first: int
    stream: bool
    outcome: _Outcome
    metered: bool
    output: int
    thinking: int
    chat_id: str
    #: An id for each tool that the answer calls, and the tools.
    call_ids: tuple[str, ...]
    calls: tuple[tuple[str, str, str], ...]


class _Gateway:
    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.random = _random(f"{profile.name}:{seed}")
        self.active: set[str] = set()
        self.begun = 0
        self.queue: list[tuple[int, int, _Turn]] = []
        self.order = 0
        names, weights = zip(*profile.models, strict=True)
        self.models: Sequence[str] = names
        self.model_weights = list(itertools.accumulate(weights))
        self.client_weights = list(itertools.accumulate(c.weight for c in profile.clients))

    def run(self) -> Iterator[_Line]:
        """Lines in the order in which their answers were complete."""
        profile, r = self.profile, self.random
        for _ in range(profile.sessions):
            self._begin(profile.start + int(r.random() * profile.session_pause))
        noise = profile.non_ai_share + profile.foreign_share
        while self.queue:
            now, _, turn = heapq.heappop(self.queue)
            if noise:
                while (dice := r.random()) < noise:
                    yield self._foreign(now) if dice < profile.foreign_share else self._other(now)
            yield self._line(turn)
            self._go_on(turn, now)

    # -- sessions --

    def _begin(self, at: int) -> None:
        profile, r = self.profile, self.random
        if profile.total_sessions is not None and self.begun >= profile.total_sessions:
            return
        self.begun += 1
        if profile.nights and not 6 <= at % _DAY // _HOUR < 20 and r.random() < 0.85:
            evening = at % _DAY >= 20 * _HOUR
            at += -(at % _DAY) + (_DAY if evening else 0) + 6 * _HOUR + int(r.random() * 4 * _HOUR)
        client, key = self._client()
        if client.models:
            name = r.choice(client.models)
        else:
            name = r.choices(self.models, cum_weights=self.model_weights)[0]
        model = MODELS.get(name) or Model(name, "openai", "other")
        conversation = key if key is not None and client.openclaw else f"headerless-{self.begun}"
        language: Language = "zh" if r.random() < profile.chinese_share else "en"
        session = _Session(
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
            system=_system(language, profile.system_prompt_bytes),
            # A Gemini request has "contents" instead of "messages", and the plugin does not log those.
            spoken=profile.mode == "full" and model.shape != "gemini",
            topic=int(r.random() * 60),
            logged_key=_wire(key or ""),
        )
        if key is not None:
            self.active.add(key)
        session.context = profile.system_prompt_bytes // 4 + profile.tool_definition_tokens
        if session.spoken and model.shape != "anthropic":
            session.history += f'{{\\"content\\":\\"{session.system}\\",\\"role\\":\\"system\\"}}'.encode()
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
                key = key.replace("{uuid}", _uuid(r)).replace("{n}", str(r.randrange(10, 14)))
            if key not in self.active:
                return client, key
        return client, f"agent:main:subagent:{_uuid(r)}"

    def _end(self, session: _Session, now: int) -> None:
        if session.name is not None:
            self.active.discard(session.name)
        self._begin(now + int(self.random.expovariate(1 / max(1, self.profile.session_pause))))

    # -- conversations --

    def _ask(self, session: _Session) -> None:
        """The user says something."""
        exchanges = _escaped(session.language)
        # Seven has no factor in common with their numbers: all come up before one comes again.
        exchange = exchanges[(session.topic + 7 * session.asked) % len(exchanges)]
        session.exchange = exchange
        session.asked += 1
        session.users += 1
        if not session.spoken:
            session.context += 30 + int(self.random.random() * 120)
            return
        text = exchange.question.replace("@@", session.number)
        if session.users == 1 and session.name is not None and session.client.openclaw:
            text += _NEWLINE * 2 + self._runtime(session, session.name)
        session.question = f'\\"{text}\\"'
        self._say(session, f'{{\\"content\\":{session.question},\\"role\\":\\"user\\"}}')

    def _runtime(self, session: _Session, key: str) -> str:
        agent, _, channel = key.removeprefix("agent:").partition(":")
        identity = "" if channel.startswith("cron:") else f" | sessionId={_uuid(self.random)}"
        return _wire(
            f"Runtime: agent={agent} | session={key}{identity} | host=devbox.example.com"
            f" | os=Linux 6.8.0 (x64) | node=v24.11.0 | model=higress/{session.model.name}"
            f" | default_model=higress/auto | shell=bash | channel={channel.partition(':')[0]}"
        )

    @staticmethod
    def _say(session: _Session, message: str) -> None:
        data = message.encode()
        if session.history:
            session.history += b","
        session.history += data
        session.context += len(data) // 4

    def _go_on(self, turn: _Turn, now: int) -> None:
        session, r = turn.session, self.random
        session.left -= 1
        if session.left <= 0:
            self._end(session, now)
            return
        if turn.outcome is not _WELL:
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
            self._say(session, self._assistant(turn))
            if turn.call_ids:
                self._results(turn)
        if turn.call_ids:
            self._send(session, now + 150 + int(r.random() * 4000))
        else:
            self._ask(session)
            self._send(session, now + 1000 + int(r.expovariate(1 / max(1, self.profile.pause))))

    def _assistant(self, turn: _Turn) -> str:
        """The answer as the client sends it back in its next request."""
        session = turn.session
        assert session.exchange is not None
        if session.model.shape == "anthropic":
            blocks = [f'{{\\"text\\":\\"{self._answer(turn)}\\",\\"type\\":\\"text\\"}}']
            for (name, arguments, _), call_id in zip(turn.calls, turn.call_ids, strict=True):
                blocks.append(
                    f'{{\\"id\\":\\"{call_id}\\",\\"input\\":{_arguments(arguments, "object")},'
                    f'\\"name\\":\\"{name}\\",\\"type\\":\\"tool_use\\"}}'
                )
            return f'{{\\"content\\":[{",".join(blocks)}],\\"role\\":\\"assistant\\"}}'
        if turn.call_ids:
            calls = self._map_calls(turn)
            return f'{{\\"content\\":null,\\"role\\":\\"assistant\\",\\"tool_calls\\":{calls}}}'
        return f'{{\\"content\\":\\"{self._answer(turn)}\\",\\"role\\":\\"assistant\\"}}'

    @staticmethod
    def _answer(turn: _Turn) -> str:
        session = turn.session
        assert session.exchange is not None
        if turn.call_ids:
            return "我先看一下。" if session.language == "zh" else "Let me have a look first."
        return session.exchange.answer.replace("@@", session.number)

    def _map_calls(self, turn: _Turn) -> str:
        """Tool calls that went through a Go map: keys in alphabetical order."""
        calls = (
            f'{{\\"function\\":{{\\"arguments\\":\\"{_arguments(arguments, "text")}\\",'
            f'\\"name\\":\\"{name}\\"}},\\"id\\":\\"{call_id}\\",\\"type\\":\\"function\\"}}'
            for (name, arguments, _), call_id in zip(turn.calls, turn.call_ids, strict=True)
        )
        return f"[{','.join(calls)}]"

    def _struct_calls(self, turn: _Turn) -> str:
        """Tool calls that were put together from a stream: fields in the order of a Go struct, no index 0."""
        claude = turn.session.model.shape == "anthropic"
        calls = []
        for i, ((name, arguments, _), call_id) in enumerate(zip(turn.calls, turn.call_ids, strict=True)):
            # In Claude's streams a text comes first, and the plugin keeps the {} that starts the arguments.
            place = i + claude
            index = f'\\"index\\":{place},' if place else ""
            text = ("{}" if claude else "") + _arguments(arguments, "text")
            calls.append(
                f'{{{index}\\"id\\":\\"{call_id}\\",\\"type\\":\\"function\\",'
                f'\\"function\\":{{\\"name\\":\\"{name}\\",\\"arguments\\":\\"{text}\\"}}}}'
            )
        return f"[{','.join(calls)}]"

    def _results(self, turn: _Turn) -> None:
        """The tools answer, and the client sends that to the model."""
        session, r = turn.session, self.random
        mean = self.profile.tool_result_lines
        texts = []
        for _, _, kind in turn.calls:
            lines = r.choices(_result_lines(kind), k=1 + int(r.random() * 2 * mean))
            texts.append(_NEWLINE.join(lines))
        if session.model.shape != "anthropic":
            for call_id, text in zip(turn.call_ids, texts, strict=True):
                session.question = f'\\"{text}\\"'
                self._say(
                    session,
                    f'{{\\"content\\":{session.question},\\"role\\":\\"tool\\",\\"tool_call_id\\":\\"{call_id}\\"}}',
                )
            return
        blocks = ",".join(
            f'{{\\"content\\":\\"{text}\\",\\"tool_use_id\\":\\"{call_id}\\",\\"type\\":\\"tool_result\\"}}'
            for call_id, text in zip(turn.call_ids, texts, strict=True)
        )
        session.users += 1  # the plugin counts messages of role "user", and Claude's tool results are of it
        session.question = f"[{blocks}]"
        self._say(session, f'{{\\"content\\":{session.question},\\"role\\":\\"user\\"}}')

    # -- requests --

    def _send(self, session: _Session, at: int) -> None:
        profile, random01 = self.profile, self.random.random
        model, exchange = session.model, session.exchange
        assert exchange is not None
        stream = random01() < profile.stream_share
        outcome: _Outcome = _WELL
        metered = True
        if random01() < profile.failure_share:
            outcome = _FAILURES[int(random01() * len(_FAILURES))]
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
        turn = _Turn(session, at, service, first, stream, outcome, metered, output, thinking, chat_id, call_ids, calls)
        self.order += 1
        # The order breaks ties, so that turns are never compared.
        heapq.heappush(self.queue, (at + service, self.order, turn))

    def _usage(self, turn: _Turn) -> tuple[tuple[int, int, int], str, str, tuple[int, int, int, int, int]]:
        """Logged input, output and total; the two details ("" where there are none); what it comes to."""
        session = turn.session
        shape, context, output, thinking = session.model.shape, session.context, turn.output, turn.thinking
        warm = session.seen >= 1024 and turn.chat_id[-1] != "0"  # now and then a cache has expired
        if shape == "anthropic":
            fresh = 3 + context % 11
            if turn.outcome[3] == "cut":
                # message_start is all that came: no cache counts, one token of output.
                return (fresh, 1, fresh + 1), "", "", (fresh, 1, 0, 0, 0)
            read = session.seen if warm else 0
            write = context - fresh - read if context - fresh > read else 0
            details = f'{{"cache_creation_input_tokens":{write},"cache_read_input_tokens":{read}}}'
            whole = fresh + read + write
            return (fresh, output, whole + output), details, "", (whole, output, 0, read, write)
        if shape == "gemini":
            cached = session.seen * 9 // 10 if warm else 0
            inside = f'{{"cached_content_token_count":{cached}}}' if cached else ""
            outside = f'{{"thoughts_token_count":{thinking}}}' if thinking else ""
            used = (context, output, thinking, cached, 0)
            return (context, output - thinking, context + output), inside, outside, used
        numbers = (context, output, context + output)
        if shape == "plain":
            return numbers, "", "", (context, output, 0, 0, 0)
        cached = session.seen // 128 * 128 if warm else 0
        used = (context, output, thinking, cached, 0)
        if shape == "compact":
            return (
                numbers,
                f'{{"cached_tokens":{cached}}}',
                f'{{"reasoning_tokens":{thinking}}}' if thinking else "",
                used,
            )
        return (
            numbers,
            f'{{"audio_tokens":0,"cached_tokens":{cached}}}',
            f'{{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":{thinking},'
            f'"rejected_prediction_tokens":0}}',
            used,
        )

    def _line(self, turn: _Turn) -> _Line:
        session = turn.session
        mode, shape = self.profile.mode, session.model.shape
        phase = turn.outcome[3]
        ended = phase in ("done", "error")
        line = _Line(
            b"",
            session_id=session.key,
            conversation=session.conversation,
            host=session.model.host,
            start=turn.start,
            failed=turn.outcome is not _WELL,
        )
        counts, inside, outside = (0, 0, 0), "", ""
        if (phase == "done" and turn.metered) or phase == "cut":
            counts, inside, outside, line.used = self._usage(turn)
            line.model = session.model.name
        full, attributes = mode == "full", mode != "bare" and ended
        used = line.used
        # The keys of ai_log in alphabetical order, as they come out of a Go map.
        log: list[str] = []
        put = log.append
        answer = reasoning = calls = "null"
        if full and attributes:
            if phase == "done" and session.spoken:
                answer, reasoning, calls = self._said(turn)
            put(f'\\"answer\\":{answer},')
        put('\\"api\\":\\"-\\",')
        if attributes:
            told = used is not None and inside and shape in ("openai", "compact")
            put(f'\\"cached_tokens\\":{used[3] if told and used else "null"},')
        if phase in ("done", "cut"):
            put(f'\\"chat_id\\":\\"{turn.chat_id}\\",')
        put(f'\\"chat_round\\":{session.users},')
        if session.consumer:
            put(f'\\"consumer\\":\\"{session.consumer}\\",')
        if used is not None:
            put(f'\\"input_token\\":{counts[0]},')
        if attributes or used is not None:
            put(f'\\"input_token_details\\":{_details(inside, attributes)},')
        if turn.stream and phase in ("done", "cut"):
            put(f'\\"llm_first_token_duration\\":{turn.first},')
        if ended:
            put(f'\\"llm_service_duration\\":{turn.service},')
        before = ""
        if full:
            put('\\"messages\\":')
            before = "".join(log)
            log.clear()
            put(",")
        if used is not None:
            put(f'\\"model\\":\\"{line.model}\\",\\"output_token\\":{counts[1]},')
        if attributes or used is not None:
            put(f'\\"output_token_details\\":{_details(outside, attributes)},')
        if full:
            put(f'\\"question\\":{session.question},')
        if full and attributes:
            put(f'\\"reasoning\\":{reasoning},')
        if attributes:
            told = used is not None and outside and shape in ("openai", "compact")
            put(f'\\"reasoning_tokens\\":{used[2] if told and used else "null"},')
        if phase != "request":
            kind = "stream" if turn.stream and phase != "error" else "normal"
            put(f'\\"response_type\\":\\"{kind}\\",')
        if session.key is not None:
            put(f'\\"session_id\\":\\"{session.logged_key}\\",')
        if full:
            put(f'\\"system\\":{self._top_system(session)},')
        if full and attributes:
            put(f'\\"tool_calls\\":{calls},')
        if used is not None:
            put(f'\\"total_token\\":{counts[2]},')
        after = "".join(log)[:-1] + self._outer(turn)
        if not full:
            line.data = ('{"ai_log":"{' + after).encode()
        elif session.spoken:
            head = ('{"ai_log":"{' + before + "[").encode()
            line.data = b"".join((head, session.history, b"]", after.encode()))
        else:
            line.data = ('{"ai_log":"{' + before + "null" + after).encode()
        return line

    def _said(self, turn: _Turn) -> tuple[str, str, str]:
        """Logged answer, reasoning and tool calls."""
        session = turn.session
        assert session.exchange is not None
        claude = session.model.shape == "anthropic"
        answer, reasoning, calls = "null", "null", "null"
        if claude or not turn.call_ids:
            answer = f'\\"{self._answer(turn)}\\"'
        if turn.thinking and session.model.shows_reasoning:
            reasoning = f'\\"{session.exchange.reasoning}\\"'
        if turn.call_ids and turn.stream:
            calls = self._struct_calls(turn)
        elif turn.call_ids and not claude:
            calls = self._map_calls(turn)
        return answer, reasoning, calls

    @staticmethod
    def _top_system(session: _Session) -> str:
        if session.model.shape != "anthropic":
            return "null"
        cache = '\\"cache_control\\":{\\"type\\":\\"ephemeral\\"}'
        return f'[{{{cache},\\"text\\":\\"{session.system}\\",\\"type\\":\\"text\\"}}]'

    def _outer(self, turn: _Turn) -> str:
        """Everything behind the text of ai_log."""
        session, r = turn.session, self.random
        status, flags, details, phase = turn.outcome
        model = session.model
        some = r.getrandbits(32)
        path = "/v1/chat/completions"
        if model.shape == "anthropic":
            path = "/v1/messages"
        elif model.shape == "gemini":
            verb = "streamGenerateContent?alt=sse" if turn.stream else "generateContent"
            path = f"/v1beta/models/{model.name}:{verb}"
        waited = str(turn.first if turn.stream and phase != "error" else turn.service)
        upstream, local, reason = (
            f"203.0.113.{some & 7 | 16}:443",
            f"192.0.2.2:{32768 + (some >> 8 & 16383)}",
            "-",
        )
        if "UH" in flags:
            upstream = local = waited = "-"
        elif "UF" in flags:
            local, waited, reason = "-", "-", "delayed_connect_error:_111"
        elif "UT" in flags or status == "0":
            waited = "-"
        sent = 0 if status == "0" else 180 if phase != "done" else 400 + turn.output * (90 if turn.stream else 5)
        return (
            f'}}","authority":"gateway.example.com","bytes_received":"{400 + session.context * 4}",'
            f'"bytes_sent":"{sent}","downstream_local_address":"192.0.2.2:8080",'
            f'"downstream_remote_address":"192.0.2.1:{49152 + (some >> 22)}",'
            f'"duration":"{turn.service + 1 + some % 9}",'
            f'"istio_policy_status":"-","method":"POST","path":"{path}","protocol":"HTTP/1.1",'
            f'"request_id":"{_uuid(r)}","requested_server_name":"-","response_code":"{status}",'
            f'"response_flags":"{flags}","route_name":"{session.route}","start_time":"{_time(turn.start)}",'
            f'"trace_id":"-","upstream_cluster":"outbound|443||{model.host}","upstream_host":"{upstream}",'
            f'"upstream_local_address":"{local}","upstream_service_time":"{waited}",'
            f'"upstream_transport_failure_reason":"{reason}","user_agent":"{session.client.user_agent}",'
            f'"x_forwarded_for":"198.51.100.{1 + (some >> 4) % 40}","response_code_details":"{details}"}}\n'
        )

    def _other(self, now: int) -> _Line:
        r = self.random
        method, path, status, flags, route, host, details = r.choice(_OTHERS)
        took = 1 + r.randrange(60)
        served = details == "via_upstream"
        values = {
            "ai_log": "-",
            "authority": "gateway.example.com",
            "bytes_received": "0" if method == "GET" else str(r.randrange(100, 4000)),
            "bytes_sent": str(r.randrange(2000)),
            "downstream_local_address": "192.0.2.2:8080",
            "downstream_remote_address": f"192.0.2.1:{r.randrange(49152, 65536)}",
            "duration": str(took),
            "istio_policy_status": "-",
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "request_id": _uuid(r),
            "requested_server_name": "-",
            "response_code": status,
            "response_flags": flags,
            "route_name": route,
            "start_time": _time(now - took),
            "trace_id": "-",
            "upstream_cluster": "-" if host == "-" else f"outbound|443||{host}",
            "upstream_host": "203.0.113.80:443" if served else "-",
            "upstream_local_address": "192.0.2.2:40112" if served else "-",
            "upstream_service_time": str(took) if served else "-",
            "upstream_transport_failure_reason": "-",
            "user_agent": r.choice(("curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64)", "OpenAI/JS 7.15.0")),
            "x_forwarded_for": "198.51.100.7",
            "response_code_details": details,
        }
        return _Line(json.dumps(values, separators=(",", ":")).encode() + b"\n", "non_ai")

    def _foreign(self, now: int) -> _Line:
        """What else is in a container's log: lines of the pilot agent, of Envoy and of the control plane."""
        r = self.random
        at = _time(now)[:-1]
        text = r.choice(
            (
                f"{at}512Z\tinfo\txdsproxy\tconnected to delta upstream XDS server: 127.0.0.1:15012\tid={now % 90}",
                f"[{at.replace('T', ' ')}][{20 + now % 9}][warning][config] "
                f"[external/envoy/source/extensions/"
                "config_subscription/grpc/grpc_stream.h:152] StreamAggregatedResources gRPC config stream to "
                "xds-grpc closed: 14, upstream connect error",
                f'{{"level":"info","time":"{at}102Z","scope":"ads","msg":"Push debounce stable[{now % 9}]"}}',
            )
        )
        return _Line(text.encode() + b"\n", "foreign")


def _details(text: str, attributes: bool) -> str:
    """Details in ``ai_log``: a JSON text in a string or null once the answer is complete, else the object."""
    if attributes:
        return f'\\"{text.replace(chr(34), _QQ)}\\"' if text else "null"
    return text.replace('"', _Q) or "{}"


def _uuid(r: random.Random) -> str:
    h = f"{r.getrandbits(128):032x}"
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[ord(h[16]) & 3]}{h[17:20]}-{h[20:]}"


def lines(profile: Profile, seed: int, limit: int | None = None, expected: Expected | None = None) -> Iterator[bytes]:
    """At most `limit` lines of an access log, each with its line end; the same for the same profile and seed.

    Without a limit it goes on until the profile's sessions are used up, which for most profiles is
    never. `expected` counts along: it always covers exactly what has been yielded.
    """
    if limit is not None and limit <= 0:
        return
    for number, line in enumerate(_Gateway(profile, seed).run(), 1):
        if expected is not None:
            expected._add(line)
        yield line.data
        if number == limit:
            return


# --- The log file ------------------------------------------------------------------------------


class Writer:
    """An Envoy that writes an access log, with the rotations that happen to it.

    Envoy appends (O_APPEND), keeps up to 64 KiB back, and then writes what it has in pieces of 16 KiB
    that end anywhere, so a reader sees torn lines. Nothing here waits for anything.
    """

    BUFFER = 64 * 1024
    SLICE = 16 * 1024

    def __init__(self, path: Path | str, *, keep: int = 5) -> None:
        self.path = Path(path)
        self.keep = keep
        self._fd = self._open()
        self._pending = bytearray()
        # What a flush has begun to write; records that come meanwhile are not part of it.
        self._writing = bytearray()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def unwritten(self) -> int:
        """Bytes that no reader can see yet."""
        return len(self._pending) + len(self._writing)

    def write(self, record: bytes) -> None:
        """Take a record; the buffer is flushed when it is full."""
        self._pending += record
        if len(self._pending) >= self.BUFFER:
            self.flush()

    def flush(self, slices: int | None = None) -> int:
        """Write what is buffered and return the number of bytes; with `slices`, only so many ``write`` calls.

        To stop after a slice is how a test sees the file at a moment at which a line is torn.
        """
        written = 0
        while (self._writing or self._pending) and slices != 0:
            if not self._writing:
                self._writing, self._pending = self._pending, self._writing
            done = os.write(self._fd, memoryview(self._writing)[: self.SLICE])
            del self._writing[:done]
            written += done
            if slices is not None:
                slices -= 1
        return written

    def rotate(self) -> Path:
        """What logrotate does: shift the old files, rename, create anew. Returns the renamed file.

        Records keep going to the renamed file until `reopen`.
        """
        self._shift()
        old = self._rotated(1)
        self.path.rename(old)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        return old

    def reopen(self) -> None:
        """SIGUSR1: go over to the file at the path; only a flush that has begun still ends in the old one."""
        while self._writing:
            done = os.write(self._fd, memoryview(self._writing)[: self.SLICE])
            del self._writing[:done]
        os.close(self._fd)
        self._fd = self._open()
        self.flush()

    def copytruncate(self) -> Path:
        """The other kind of rotation: copy the file, then empty it in place. Returns the copy."""
        self._shift()
        copy = self._rotated(1)
        shutil.copyfile(self.path, copy)
        os.truncate(self.path, 0)
        return copy

    def close(self) -> None:
        """Write what is left and let go of the file."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _shift(self) -> None:
        self._rotated(self.keep).unlink(missing_ok=True)
        for number in range(self.keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._rotated(number).rename(self._rotated(number + 1))


# --- Command line ------------------------------------------------------------------------------

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _size(text: str) -> int:
    digits = text.rstrip("BbKkMmGgIi ")
    unit = text[len(digits) :].strip().upper() or "B"
    try:
        return int(float(digits) * _UNITS[unit])
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"not a size: {text!r} (try 100MB or 2GiB)") from None


def _moment(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time: {text!r} (try 2026-02-01T09:30:00Z)") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a sample log to a file, and the totals that are in it to stdout as JSON."""
    parser = argparse.ArgumentParser(prog="python -m monitor.samples", description=main.__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="demo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bytes", type=_size, help="stop after the line that reaches this size, e.g. 100MB")
    parser.add_argument("--lines", type=int, help="stop after so many lines")
    parser.add_argument("--start", type=_moment, help="when the first session may begin (UTC)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    profile = PROFILES[options.profile]
    if options.start is not None:
        profile = replace(profile, start=options.start)
    if profile.total_sessions is None and options.bytes is None and options.lines is None:
        parser.error(f"profile {profile.name} never ends: give --bytes or --lines")
    expected = Expected()
    with options.output.open("wb", buffering=1 << 20) as file:
        if options.bytes != 0:
            for line in lines(profile, options.seed, options.lines, expected):
                file.write(line)
                if options.bytes is not None and expected.bytes >= options.bytes:
                    break
    json.dump(expected.as_json(), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
    sys.stderr.write(f"{expected.lines} lines, {expected.bytes} bytes in {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
