"""What is said in the sample conversations: invented questions, answers, prompts and outputs of tools."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from monitor.samples.wire import seeded, wire

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Exchange:
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
    Exchange(
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
    Exchange(
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
    Exchange(
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
    Exchange(
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
    Exchange(
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
    Exchange(
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
    Exchange(
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
    Exchange(
        "Write a commit message for branch fix-@@, please. Keep it under 60 characters in the first line.",
        "The change is about the lock path, not about the cache itself.",
        "Give every test worker its own cache lock\n\nWorkers shared one fixed path, so that about one "
        "run in five timed out. Fixes #@@.",
        (_call("exec", "code", command="git diff --cached"),),
    ),
    Exchange(
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
    Exchange(
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
    Exchange(
        "工单 @@：线上接口偶尔返回 502，帮我看看网关日志里是什么原因？",
        "502 只在发布窗口出现，先看上游重置的时间点是否和滚动更新一致。",
        "502 都集中在滚动更新的两分钟内：旧 Pod 收到 SIGTERM 后立刻退出，连接被重置。建议加上 `preStop: "
        "sleep 10`，并把 `terminationGracePeriodSeconds` 调到 30。这样改完之后压测没有再出现 502。",
        (
            _call("exec", "zh", command="grep ' 502 ' access.log | tail -n 50"),
            _call("exec", "table", command="kubectl get events --sort-by=.lastTimestamp"),
        ),
    ),
    Exchange(
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
    Exchange(
        "下周三从杭州去成都，两大一小，上午出发，帮我比较一下高铁和飞机。",
        "高铁时间长但免托运，要看带孩子是否方便。",
        "飞机：08:40 起飞，11:50 到，三人合计约 2,430 元（含税）。高铁：07:32 出发，19:05 到，约 1,980 "
        "元。带孩子建议坐飞机，省 8 个小时，只贵 450 元。需要我把方案 @@ 发到群里吗？",
        (
            _call("search_flights", "json", date="2026-02-11", origin="杭州", to="成都"),
            _call("get_weather", "json", city="成都", days=3),
        ),
    ),
    Exchange(
        "这个 SQL 为什么不走索引？WHERE DATE(created_at) = '2026-01-31' AND shop_id = @@",
        "对列使用函数会让索引失效，改成范围条件。",
        "因为 `DATE(created_at)` 对列做了函数运算。改成范围条件即可：\n\n"
        "```sql\nWHERE created_at >= '2026-01-31'\n  AND created_at < '2026-02-01'\n"
        "```\n再建 `(shop_id, created_at)` 联合索引，耗时从 2.3 秒降到 8 毫秒。",
        (_call("sql", "table", query="EXPLAIN SELECT id FROM orders WHERE DATE(created_at) = '2026-01-31'"),),
    ),
    Exchange(
        "帮我把今天的日报整理一下，分成“已完成”“进行中”“风险”三部分。",
        "按三个部分归类，风险只写需要别人配合的。",
        "已完成：登录页改版上线；修复 @@ 号缺陷。\n进行中：订单导出（约 70%）。\n风险：支付沙箱证书 2 月 "
        "9 日到期，需要运维同事协助续签。",
        (
            _call("exec", "zh", command="git log --since=today --oneline"),
            _call("read", "zh", path="notes/today.md"),
        ),
    ),
    Exchange(
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
def result_lines(kind: str) -> tuple[str, ...]:
    """Lines that tool results are drawn from, already escaped: escaping is what would take the time."""
    r = seeded(kind)
    return tuple(wire(_RESULTS[kind](r, i)) for i in range(300))


@functools.cache
def exchanges(language: Language) -> tuple[Exchange, ...]:
    """The exchanges as they stand in the file; each protocol escapes the arguments its own way."""
    return tuple(
        Exchange(wire(e.question), wire(e.reasoning), wire(e.answer), e.calls)
        for e in (_ENGLISH if language == "en" else _CHINESE)
    )


@functools.lru_cache(maxsize=64)
def system_prompt(language: Language, size: int) -> str:
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
    return wire("\n\n".join(parts))
