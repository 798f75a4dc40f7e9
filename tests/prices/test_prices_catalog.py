"""What rounds cost: which list prices which name, and sums that were worked out by hand."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import get_args

import genai_prices
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.prices import overlay, updates
from monitor.prices.catalog import Catalog
from monitor.prices.money import NANO, CostStatus
from monitor.rounds import MAX_PLAUSIBLE_TOKENS, UNKNOWN_TIME, Usage
from tests.prices.published import as_file, published
from tests.prices.reference import MOMENT as NOW
from tests.prices.reference import PRICED

DATA = sorted((Path(overlay.__file__).parent / "data").glob("*.toml"))
CATALOG = Catalog.load()
INTL = Catalog.load(region="intl")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def test_every_name_that_a_price_list_holds_with_junk_behind_it_is_unknown() -> None:
    from genai_prices.data import providers

    checked = 0
    for provider in providers:
        if provider.id in {"openai", "anthropic", "google", "x-ai", "mistral", "cohere"}:
            for model in provider.models:
                checked += 1
                for junk in ("zzz", "distill"):
                    name = f"{model.id}-{junk}"
                    assert CATALOG.price(name, None, NOW).status == "unpriced", name
    assert checked > 200


@pytest.mark.parametrize(
    ("model", "host", "provider", "status"),
    [
        # A domain beats the region and the prefix.
        ("qwen-max", "dashscope.aliyuncs.com", "alibaba-cn", "priced"),
        ("qwen-max", "dashscope-intl.aliyuncs.com", "alibaba-intl", "priced"),
        ("glm-4.7", "open.bigmodel.cn", "zhipu", "priced"),
        ("glm-4.7", "api.z.ai", "zai", "priced"),
        ("kimi-k2-thinking", "api.moonshot.cn", "moonshot-cn", "priced"),
        ("kimi-k2-thinking", "api.moonshot.ai", "moonshot-intl", "priced"),
        ("kimi-k2-thinking", "dashscope.aliyuncs.com", "alibaba-cn", "priced"),
        ("deepseek-r1", "ark.cn-beijing.volces.com", "volcengine", "priced"),
        ("deepseek-r1", "dashscope.aliyuncs.com", "alibaba-cn", "priced"),
        ("deepseek-r1", "api.deepseek.com", "deepseek", "priced"),
        ("deepseek-r1-distill-qwen-32b", "dashscope.aliyuncs.com:443", "alibaba-cn", "priced"),
        ("deepseek/deepseek-chat", "openrouter.ai", "openrouter", "priced"),
        ("Qwen/Qwen2.5-72B-Instruct", "dashscope.aliyuncs.com", "alibaba-cn", "priced"),
        ("gpt-4o", "acme.openai.azure.com", "azure", "priced"),
        (
            "anthropic.claude-3-haiku-20240307-v1:0",
            "bedrock-runtime.us-east-1.amazonaws.com",
            "aws",
            "priced",
        ),
        # An operator's name is only a hint.
        ("glm-4.7", "llm-zhipu.internal.dns", "zhipu", "priced"),
        ("gpt-4o", "llm-azure.internal.dns", "azure", "priced"),
        ("glm-5", "llm-openai.internal.dns", "zhipu", "estimated"),
        ("claude-opus-4-5", "llm-openai.internal.dns", "anthropic", "priced"),
        ("gpt-4o", "llm-my-azure.internal.dns", "openai", "priced"),
        # Nothing but the name.
        ("gpt-4o", "10.0.0.7:8000", "openai", "priced"),
        ("gpt-4o", None, "openai", "priced"),
        ("qwen-max", None, "alibaba-cn", "estimated"),
        ("qwen-max", "llm-aliyun.internal.dns", "alibaba-cn", "estimated"),
        ("deepseek-r1", None, "deepseek", "estimated"),
        # Whoever served it lists no such model.
        ("gpt-4o", "dashscope.aliyuncs.com", "openai", "estimated"),
        ("glm-5.3", "dashscope.aliyuncs.com", "zhipu", "estimated"),
    ],
)
def test_who_served_it_decides_whose_list_counts(
    model: str, host: str | None, provider: str, status: CostStatus
) -> None:
    resolution = CATALOG.price(model, host, NOW)
    assert (resolution.provider, resolution.status) == (provider, status)
    assert CATALOG.cost(model, host, NOW, Usage(10, 10)).status == status


def test_the_region_chooses_between_a_vendors_lists_and_says_so() -> None:
    cost = INTL.cost("qwen-max", None, NOW, Usage(1_000_000, 0))
    assert (cost.nano, cost.currency, cost.status) == (1_600_000_000, "USD", "estimated")
    assert cost.source == "built-in: alibaba-intl/qwen-max (region intl by default)"
    domain = INTL.cost("qwen-max", "dashscope.aliyuncs.com", NOW, Usage(1_000_000, 0))
    assert (domain.nano, domain.currency, domain.status) == (2_400_000_000, "CNY", "priced")


def test_only_openrouter_gives_free_models_away() -> None:
    name = "meta-llama/llama-3.3-70b-instruct:free"
    assert CATALOG.cost(name, "openrouter.ai", NOW, Usage(10, 10)).status == "free"
    assert CATALOG.cost(f"openrouter/{name}", None, NOW, Usage(10, 10)).nano == 0
    assert CATALOG.cost(name, None, NOW, Usage(10, 10)).status == "unpriced"
    assert CATALOG.cost(name, "api.together.xyz", NOW, Usage(10, 10)).status == "unpriced"


GOLDEN: list[tuple[str, str | None, str, Usage, int, str]] = [
    # 150 x $2.5 + 120 x $10 per million = $0.000375 + $0.0012; reasoning is inside the 120.
    ("gpt-4o", None, "2026-11-20", Usage(150, 120, 100), 1_575_000, "USD"),
    # 50 x 2.5 + 100 cached x 1.25 + 120 x 10 = 125 + 125 + 1200.
    ("gpt-4o", None, "2026-11-20", Usage(150, 120, None, 100), 1_450_000, "USD"),
    # o1: 100 x 15 + 580 x 60 = 1500 + 34800.
    ("o1", None, "2026-11-20", Usage(100, 580, 500), 36_300_000, "USD"),
    # gpt-4 has no cached rate, so cached tokens are input: 1M x 30 + 1M x 60.
    ("gpt-4", None, "2026-11-20", Usage(10**6, 10**6, 0, 10**6), 90 * NANO, "USD"),
    # Opus 4.5: 1000 plain x 5, 2000 read x 0.5, 3000 written for 5 min x 6.25, 4000 for 1 h x 10, 500 x 25
    # = 5000 + 1000 + 18750 + 40000 + 12500.
    ("claude-opus-4-5", None, "2026-11-20", Usage(10_000, 500, None, 2000, 7000, 4000), 77_250_000, "USD"),
    # Gemini 2.5 Pro: the whole request is dearer above 200,000 tokens of input.
    ("gemini-2.5-pro", None, "2026-11-20", Usage(200_000, 1000), 250_000_000 + 10_000_000, "USD"),
    ("gemini-2.5-pro", None, "2026-11-20", Usage(200_001, 1000), 500_002_500 + 15_000_000, "USD"),
    # Opus 4.6 was tiered until 2026-03-12 (10 and 37.5 above 200,000) and is flat (5 and 25) since.
    ("claude-opus-4-6", None, "2026-03-12T23:59:59", Usage(300_000, 1000), 3_037_500_000, "USD"),
    ("claude-opus-4-6", None, "2026-03-13", Usage(300_000, 1000), 1_525_000_000, "USD"),
    # o3 became cheaper on 2025-06-10: 10 and 40 before, 2 and 8 after.
    ("o3", None, "2025-06-09", Usage(10**6, 10**6), 50 * NANO, "USD"),
    ("o3", None, "2025-06-11", Usage(10**6, 10**6), 10 * NANO, "USD"),
    # DeepSeek: 900k plain, 100k cached, 1M out, through the lists of its alias.
    ("deepseek-chat", None, "2025-02-01", Usage(10**6, 10**6, None, 10**5), 407_400_000, "USD"),
    ("deepseek-chat", None, "2025-06-01T12:00:00", Usage(10**6, 10**6, None, 10**5), 1_350_000_000, "USD"),
    ("deepseek-chat", None, "2025-06-01T16:30:00", Usage(10**6, 10**6, None, 10**5), 675_000_000, "USD"),
    ("deepseek-chat", None, "2025-06-01T00:29:59", Usage(10**6, 10**6, None, 10**5), 675_000_000, "USD"),
    ("deepseek-reasoner", None, "2025-09-05T15:59:59", Usage(10**6, 10**6, 5), 2_740_000_000, "USD"),
    ("deepseek-reasoner", None, "2025-09-05T16:00:00", Usage(10**6, 10**6, 5), 2_240_000_000, "USD"),
    ("deepseek-chat", None, "2025-12-01", Usage(10**6, 10**6, None, 10**5), 674_800_000, "USD"),
    ("deepseek-chat", None, "2026-06-01", Usage(10**6, 10**6, None, 10**5), 406_280_000, "USD"),
    # 900k x 0.15 + 100k x 0.003 + 0.6, double at peak, which the weekend has none of.
    ("deepseek-v4-flash", None, "2026-11-20T00:59:59", Usage(10**6, 10**6, None, 10**5), 735_300_000, "USD"),
    (
        "deepseek-v4-flash",
        None,
        "2026-11-20T01:00:00",
        Usage(10**6, 10**6, None, 10**5),
        1_470_600_000,
        "USD",
    ),
    (
        "deepseek-v4-flash",
        None,
        "2026-11-20T09:59:59",
        Usage(10**6, 10**6, None, 10**5),
        1_470_600_000,
        "USD",
    ),
    ("deepseek-v4-flash", None, "2026-11-21T09:00:00", Usage(10**6, 10**6, None, 10**5), 735_300_000, "USD"),
    # Qwen Plus up to 128K: 80k x 0.8 + 20k cached x 0.16 + 1000 x 2.
    ("qwen-plus", "dashscope.aliyuncs.com", "2026-11-20", Usage(100_000, 1000, 0, 20_000), 69_200_000, "CNY"),
    # With thinking the whole output costs 8.
    (
        "qwen-plus",
        "dashscope.aliyuncs.com",
        "2026-11-20",
        Usage(100_000, 1000, 400, 20_000),
        75_200_000,
        "CNY",
    ),
    # Above 128K: 128,001 x 2.4 + 1000 x 20.
    ("qwen-plus", "dashscope.aliyuncs.com", "2026-11-20", Usage(128_001, 1000), 327_202_400, "CNY"),
    # Qwen3 Max by date: 1000 in, 1000 out at 6/24, 3.2/12.8, 2.5/10, 9/54.
    ("qwen3-max", "dashscope.aliyuncs.com", "2025-10-01", Usage(1000, 1000), 30_000_000, "CNY"),
    ("qwen3-max", "dashscope.aliyuncs.com", "2026-01-01", Usage(1000, 1000), 16_000_000, "CNY"),
    ("qwen3-max", "dashscope.aliyuncs.com", "2026-06-01", Usage(1000, 1000), 12_500_000, "CNY"),
    ("qwen3-max", "dashscope.aliyuncs.com", "2026-11-20", Usage(1000, 1000), 63_000_000, "CNY"),
    # GLM 4.7 by input and output length: 2/8, 3/14, 4/16.
    ("glm-4.7", "open.bigmodel.cn", "2026-11-20", Usage(31_999, 199), 65_590_000, "CNY"),
    ("glm-4.7", "open.bigmodel.cn", "2026-11-20", Usage(31_999, 200), 98_797_000, "CNY"),
    ("glm-4.7", "open.bigmodel.cn", "2026-11-20", Usage(32_000, 200), 131_200_000, "CNY"),
    # Doubao Seed 1.6: 32,000 x 0.8 + 200 x 2; then output 8; then 1.2 and 16.
    ("doubao-seed-1.6", None, "2026-11-20", Usage(32_000, 200), 26_000_000, "CNY"),
    ("doubao-seed-1.6", None, "2026-11-20", Usage(32_000, 201), 27_208_000, "CNY"),
    ("doubao-seed-1.6", None, "2026-11-20", Usage(32_001, 201), 41_617_200, "CNY"),
    # The retired glm-4: CNY 0.10 per thousand, both ways.
    ("glm-4", "open.bigmodel.cn", "2024-06-01", Usage(1000, 1000), 200_000_000, "CNY"),
    # An embedding prices input only: 1000 x 0.5.
    ("text-embedding-v4", "dashscope.aliyuncs.com", "2026-11-20", Usage(1000, 7), 500_000, "CNY"),
]


@pytest.mark.parametrize(("model", "host", "at", "usage", "nano", "currency"), GOLDEN)
def test_a_round_costs_what_was_worked_out_by_hand(
    model: str, host: str | None, at: str, usage: Usage, nano: int, currency: str
) -> None:
    cost = CATALOG.cost(model, host, ms(at), usage)
    assert (cost.nano, cost.currency) == (nano, currency)
    assert cost.status in ("priced", "estimated")


def test_half_a_nano_is_rounded_up_once_per_round() -> None:
    # Input 0.435 at 1 token is 435 nano; cached 0.003625 is 3.625 nano.
    at = ms("2026-06-01")

    def cached(count: int) -> int | None:
        return CATALOG.cost("deepseek-v4-pro", None, at, Usage(count, 0, None, count)).nano

    assert [cached(count) for count in (1, 2, 3, 4, 5, 12)] == [4, 7, 11, 15, 18, 44]


def test_free_is_zero_and_says_so() -> None:
    cost = CATALOG.cost("glm-4-flash", "open.bigmodel.cn", NOW, Usage(1000, 1000))
    assert (cost.status, cost.nano, cost.currency) == ("free", 0, "CNY")
    assert cost.source == "built-in: zhipu/glm-4-flash"


@pytest.mark.parametrize("model", ["from-cache", "from-security-guard"])
@pytest.mark.parametrize("usage", [Usage(), Usage(5, 5), Usage(5, None, lower_bound=True)])
@pytest.mark.parametrize("at", [UNKNOWN_TIME, NOW])
def test_what_the_gateway_answered_itself_is_free(model: str, usage: Usage, at: int) -> None:
    cost = CATALOG.cost(model, "llm-openai.internal.dns", at, usage)
    assert (cost.status, cost.nano) == ("free", 0)
    assert cost.source is not None
    assert "the gateway itself" in cost.source


@pytest.mark.parametrize("model", ["gpt-4o", "glm-4-flash", "nobody-knows-me", None])
def test_where_nothing_was_counted_there_is_nothing_to_price(model: str | None) -> None:
    assert CATALOG.cost(model, None, NOW, Usage()).status == "none"
    assert CATALOG.cost(model, None, NOW, Usage()).nano is None


def test_tokens_of_no_model_are_unpriced() -> None:
    assert CATALOG.cost(None, "api.openai.com", NOW, Usage(5, 5)).status == "unpriced"


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(1000, None), 2_500_000),
        (Usage(None, 1000), 10_000_000),
        (Usage(1000, 1000, lower_bound=True), 12_500_000),
        # Reasoning without the output that holds it is still output.
        (Usage(1000, None, 1000), 12_500_000),
    ],
)
def test_a_part_that_was_not_counted_makes_it_a_lower_bound(usage: Usage, nano: int) -> None:
    cost = CATALOG.cost("gpt-4o", None, NOW, usage)
    assert (cost.status, cost.nano) == ("partial", nano)


def test_an_embedding_without_output_is_whole() -> None:
    assert CATALOG.cost("text-embedding-3-small", None, NOW, Usage(1000, None)).status == "priced"


def test_prices_do_not_depend_on_the_order_of_the_questions(tmp_path: Path) -> None:
    # The user's price holds in March only; before and after, the built-in list's and genai-prices' do.
    path = tmp_path / "prices.toml"
    path.write_text(
        "schema = 1\n[[price]]\nmatch = ['gpt-4o', 'deepseek-chat']\ncurrency = 'EUR'\nper = 1000\n"
        "from = 2026-03-01\nuntil = 2026-04-01\ninput = 1\noutput = 1\n"
    )
    moments = [ms(f"2026-{month:02}-15") for month in range(1, 12)]
    for model, other in (("gpt-4o", 2_500), ("deepseek-chat", None)):
        for order in (moments, moments[::-1], [*moments[5:], *moments[:5]]):
            catalog = Catalog.load([path])
            for at in order:
                cost = catalog.cost(model, None, at, Usage(1, 0))
                if at == moments[2]:
                    assert (cost.nano, cost.currency) == (1_000_000, "EUR")
                else:
                    assert cost.currency == "USD"
                    assert other is None or cost.nano == other


def test_an_undated_round_has_the_newest_price_and_is_an_estimate() -> None:
    cost = CATALOG.cost("deepseek-chat", None, UNKNOWN_TIME, Usage(10**6, 0))
    assert (cost.status, cost.nano) == ("estimated", 150_000_000)
    assert cost.source == "built-in: deepseek/deepseek-chat from 2026-09-10 (undated round, newest price)"
    assert CATALOG.price("deepseek-chat", None, UNKNOWN_TIME).status == "estimated"
    assert CATALOG.cost("glm-4-flash", None, UNKNOWN_TIME, Usage(10, 10)).status == "free"


def test_a_round_before_the_first_price_is_unpriced() -> None:
    assert CATALOG.cost("deepseek-chat", None, ms("2024-01-01"), Usage(10, 10)).status == "unpriced"


def test_a_resolution_explains_itself() -> None:
    resolution = CATALOG.price("Qwen-Plus-Latest", "dashscope.aliyuncs.com", NOW)
    assert (resolution.status, resolution.rule, resolution.list) == ("priced", "latest_dropped", "built-in")
    assert [(tier.up_to_input, tier.rates.input) for tier in resolution.tiers] == [
        (128_000, Decimal("0.8")),
        (256_000, Decimal("2.4")),
        (None, Decimal("4.8")),
    ]
    assert str(resolution.checked) == "2026-11-21"
    dated = CATALOG.price("claude-opus-4-6", None, NOW)
    assert str(dated.effective) == "2026-03-13"


def test_a_resolution_says_how_much_the_model_can_take() -> None:
    # OpenAI's page on gpt-4o and Anthropic's on Claude 3.5, through genai-prices.
    assert CATALOG.price("gpt-4o", None, NOW).context_window == 128_000
    assert CATALOG.price("claude-3-5-sonnet-20241022", None, NOW).context_window == 200_000
    assert CATALOG.price("nobody-knows-me", None, NOW).context_window is None


def test_the_version_names_every_list() -> None:
    days = [row.checked for path in DATA for row in overlay.load(path).rows if row.checked is not None]
    version = rf"genai-prices {re.escape(genai_prices.__version__)}, built-in {max(days)} [0-9a-f]{{8}}, region cn"
    assert re.fullmatch(version, CATALOG.version)
    assert CATALOG.checked == max(days)


def test_another_figure_in_a_built_in_list_is_another_version(tmp_path: Path) -> None:
    files = [overlay.load(path) for path in DATA]
    changed = tmp_path / DATA[0].name
    changed.write_text(DATA[0].read_text().replace('input = "', 'input = "1', 1))
    others = [overlay.load(changed), *files[1:]]
    assert Catalog([], files, "cn").version == CATALOG.version
    assert Catalog([], others, "cn").version != CATALOG.version


def test_old_prices_are_said_to_be_old_only_when_something_newer_was_priced() -> None:
    day = 86_400_000
    checked = ms(CATALOG.checked.isoformat())
    assert CATALOG.stale(None) is None
    assert CATALOG.stale(UNKNOWN_TIME) is None
    assert CATALOG.stale(checked + 61 * day - 1) is None
    warning = CATALOG.stale(checked + 61 * day)
    assert warning is not None
    assert f"the built-in price lists are of {CATALOG.checked}" in warning
    assert "session-monitor prices update" in warning


def test_catalogs_answer_from_many_threads() -> None:
    catalog = Catalog.load()
    moments = [NOW - day * 86_400_000 for day in range(0, 700, 7)]
    expected = [CATALOG.cost("deepseek-chat", None, at, Usage(10, 10)) for at in moments]
    wrong: list[object] = []

    def ask() -> None:
        try:
            got = [catalog.cost("deepseek-chat", None, at, Usage(10, 10)) for at in moments]
            wrong.extend(pair for pair in zip(got, expected, strict=True) if pair[0] != pair[1])
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- properties

counts = st.one_of(st.none(), st.integers(0, 3_000_000), st.integers(0, MAX_PLAUSIBLE_TOKENS))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    whole, output = draw(counts), draw(counts)
    bound = MAX_PLAUSIBLE_TOKENS if whole is None else whole
    cached = draw(st.none() | st.integers(0, bound))
    write = draw(st.none() | st.integers(0, bound - (cached or 0)))
    long_write = draw(st.none() | st.integers(0, write or 0))
    reasoning = draw(st.none() | st.integers(0, MAX_PLAUSIBLE_TOKENS if output is None else output))
    return Usage(whole, output, reasoning, cached, write, long_write, lower_bound=draw(st.booleans()))


KNOWN_NAMES = [line.split()[0] for line in PRICED]
HOSTS = [
    None,
    "dashscope.aliyuncs.com",
    "openrouter.ai",
    "llm-openai.internal.dns",
    "10.0.0.7:8000",
    "api.z.ai",
]


@given(
    st.none() | st.text(max_size=300) | st.sampled_from(KNOWN_NAMES),
    st.none() | st.text(max_size=300) | st.sampled_from(HOSTS),
    st.sampled_from([UNKNOWN_TIME, 1, NOW, 2**62]) | st.integers(0, 2 * NOW),
    usages(),
)
@settings(max_examples=300)
def test_no_round_fails_and_none_costs_less_than_nothing(
    model: str | None, host: str | None, at_ms: int, usage: Usage
) -> None:
    cost = CATALOG.cost(model, host, at_ms, usage)
    assert cost.status in get_args(CostStatus)
    assert (cost.nano is None) == (cost.status in ("unpriced", "none"))
    assert cost.nano is None or cost.nano >= 0
    assert cost.status != "free" or cost.nano == 0
    if model is not None:
        CATALOG.price(model, host, at_ms)


@given(st.sampled_from(KNOWN_NAMES), usages(), st.integers(ms("2025-01-01"), NOW))
def test_the_parts_of_a_round_add_up(name: str, usage: Usage, at_ms: int) -> None:
    assume(usage.input_tokens is not None and usage.output_tokens is not None)
    resolution = CATALOG.price(name, None, at_ms)
    # The tier depends on the length, so parts add up only where there is one; a fee per request is paid once.
    assume(len(resolution.tiers) == 1 and resolution.tiers[0].rates.request is None)
    whole = CATALOG.cost(name, None, at_ms, usage).nano
    without_output = Usage(usage.input_tokens, 0, 0, *list_parts(usage))
    without_input = Usage(0, usage.output_tokens, usage.reasoning_tokens)
    parts = [CATALOG.cost(name, None, at_ms, part).nano for part in (without_output, without_input)]
    assert whole is not None
    assert all(part is not None for part in parts)
    # Each part is rounded by at most half a nano.
    assert abs(whole - sum(part or 0 for part in parts)) <= 1


def list_parts(usage: Usage) -> tuple[int | None, int | None, int | None]:
    return usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens


BOTH_KNOW = [
    ("gpt-4o", "openai"),
    ("gpt-4o-mini", "openai"),
    ("o3", "openai"),
    ("gpt-5", "openai"),
    ("text-embedding-3-small", "openai"),
    ("claude-3-5-sonnet-20241022", "anthropic"),
    ("claude-opus-4-5", "anthropic"),
    ("claude-opus-4-6", "anthropic"),
    ("claude-sonnet-4-5", "anthropic"),
    ("gemini-2.5-pro", "google"),
    ("gemini-2.5-flash", "google"),
    ("gemini-1.5-flash", "google"),
    ("gemini-3-pro-preview", "google"),
    ("grok-4", "x-ai"),
    ("grok-3-mini", "x-ai"),
    ("mistral-small-latest", "mistral"),
    ("command-r-plus", "cohere"),
    ("sonar-pro", "perplexity"),
]


def theirs(known: tuple[str, str], usage: Usage, at_ms: int) -> int:
    """What genai-prices works out, in nano-dollars."""
    model, provider = known
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    price = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_tokens or 0,
            cache_write_tokens=usage.cache_write_tokens or 0,
            cache_write_1h_tokens=usage.cache_write_1h_tokens or 0,
            output_reasoning_tokens=usage.reasoning_tokens or 0,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms),
    )
    return int((price.total_price * NANO).to_integral_value(ROUND_HALF_UP))


@given(st.sampled_from(BOTH_KNOW), usages(), st.integers(ms("2024-01-01"), NOW))
@settings(max_examples=400)
def test_our_arithmetic_is_that_of_genai_prices(known: tuple[str, str], usage: Usage, at_ms: int) -> None:
    assume(usage.input_tokens is not None and usage.output_tokens is not None)
    cost = CATALOG.cost(known[0], None, at_ms, usage)
    assert (cost.nano, cost.currency) == (theirs(known, usage, at_ms), "USD")


#: Models with a tier by length, a change of price, or a price for writing to a cache for an hour.
EDGES = {
    ("gemini-2.5-pro", "google"): ([200_000], []),
    ("gemini-3-pro-preview", "google"): ([200_000], []),
    ("claude-sonnet-4-5", "anthropic"): ([200_000], []),
    ("claude-opus-4-6", "anthropic"): ([200_000], ["2026-03-13"]),
    ("gpt-5.4", "openai"): ([272_000], []),
    ("o3", "openai"): ([], ["2025-06-10"]),
    ("claude-opus-4-5", "anthropic"): ([], []),
}


@pytest.mark.parametrize("known", EDGES, ids=lambda known: known[0])
def test_both_agree_on_each_side_of_every_edge(known: tuple[str, str]) -> None:
    lengths, days = EDGES[known]
    moments = [NOW, *(ms(day) + shift for day in days for shift in (-1, 0))]
    amounts = [50_000, *(length + shift for length in lengths for shift in (-1, 0, 1))]
    costs = set()
    for at_ms in moments:
        for amount in amounts:
            # Read, written for five minutes, written for an hour, and plain, all in one round.
            usage = Usage(amount, 1001, 400, 11_111, 9_999, 3_333)
            cost = CATALOG.cost(known[0], None, at_ms, usage)
            assert cost.nano == theirs(known, usage, at_ms), (at_ms, amount)
            costs.add(cost.nano)
    # An edge that changes nothing would be none.
    assert len(costs) > len(lengths) + len(days)


# --- what pricing must not do


def run_alone(program: str) -> str:
    """Run a program in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pricing_reaches_no_network_and_starts_no_thread(tmp_path: Path) -> None:
    updates.keep(tmp_path, as_file(published(gpt_4o=Decimal(7))), "a file")
    out = run_alone(
        f"""
        import sys, threading
        from pathlib import Path

        def refuse(event, args):
            if event.startswith("socket.") or event == "_thread.start_new_thread":
                raise SystemExit(f"{{event}} {{args}}")

        sys.addaudithook(refuse)
        from monitor.prices.catalog import Catalog
        from monitor.rounds import Usage

        for data_dir in (None, Path({str(tmp_path)!r})):
            catalog = Catalog.load(["usage-cny"], data_dir=data_dir)
            for name in ("gpt-5", "qwen3-max", "nobody-knows-me", "from-cache"):
                print(catalog.cost(name, None, 1, Usage(5, 5)).status)
            catalog.price("gpt-5", None, 1)
            assert catalog.warnings == ()
            catalog.stale(2**42)
        assert threading.active_count() == 1
        """
    )
    assert out.split() == 2 * ["priced", "priced", "unpriced", "free"]


def test_the_large_list_is_imported_only_when_it_is_needed() -> None:
    out = run_alone(
        f"""
        import sys
        from monitor.prices.catalog import Catalog
        from monitor.rounds import Usage

        catalog = Catalog.load()
        for name in ("qwen-max", "glm-5", "deepseek-chat", "doubao-pro-32k", "from-cache"):
            assert catalog.cost(name, None, {NOW}, Usage(5, 5)).nano is not None
        print("genai_prices" in sys.modules)
        catalog.cost("gpt-4o", None, {NOW}, Usage(5, 5))
        print("genai_prices" in sys.modules)
        """
    )
    assert out.split() == ["False", "True"]


def test_another_librarys_snapshot_does_not_change_our_prices() -> None:
    from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot

    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert Catalog.load().cost("gpt-4o", None, NOW, Usage(1000, 0)).nano == 2_500_000
    finally:
        set_custom_snapshot(None)


def test_invented_names_do_not_fill_the_memory() -> None:
    catalog = Catalog.load()
    for number in range(6000):
        catalog.cost(f"gemini-2.5-pro-preview-{number}", None, NOW, Usage(1, 1))
        catalog.cost(f"{number}" * 1000, "x" * 10_000, NOW, Usage(1, 1))
    info = catalog._entry.cache_info()  # type: ignore[attr-defined]
    assert info.currsize <= 4096
