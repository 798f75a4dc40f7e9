"""What a round costs from the counts in its log record on, a protocol each, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.prices.catalog import Catalog
from monitor.prices.money import CostStatus
from monitor.sources.usage import normalise

CATALOG = Catalog.load()

#: Noon of a Friday in UTC, outside DeepSeek's peak hours; and 02:00 of it, within.
NOON, PEAK = "2026-11-20T12:00:00", "2026-11-20T02:00:00"

ANTHROPIC: dict[str, Any] = {
    "cache_read_input_tokens": 2000,
    "cache_creation_input_tokens": 7000,
    "cache_creation": {"ephemeral_5m_input_tokens": 3000, "ephemeral_1h_input_tokens": 4000},
}

# model, host, when | counts as logged | nano-units, currency, status. Prices are per million tokens, and a token
# at 1 per million is 1000 nano-units.
GOLDEN: dict[str, tuple[str, str | None, str, dict[str, Any], int, str, CostStatus]] = {
    # OpenAI: cached within input, reasoning within output.
    # 600 x 1.25 + 400 x 0.125 + 500 x 10 = 750 + 50 + 5000.
    "openai chat": (
        "gpt-5", "api.openai.com", NOON,
        {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500,
         "input_details": {"cached_tokens": 400}, "output_details": {"reasoning_tokens": 300}},
        5_800_000, "USD", "priced",
    ),
    # Anthropic: reads and writes beside input, one hour's writes dearer.
    # 12 x 5 + 2000 x 0.5 + 3000 x 6.25 + 4000 x 10 + 500 x 25 = 60 + 1000 + 18,750 + 40,000 + 12,500.
    "anthropic native": (
        "claude-opus-4-5", "api.anthropic.com", NOON,
        {"input_tokens": 12, "output_tokens": 500, "total_tokens": 9512, "input_details": ANTHROPIC,
         "response_id": "msg_01"},
        72_310_000, "USD", "priced",
    ),
    # The cached part counts for the tier: 1000 + 200,000 is above 200,000, so 6, 0.6 and 22.5.
    # 1000 x 6 + 200,000 x 0.6 + 100 x 22.5 = 6000 + 120,000 + 2250.
    "anthropic native, long context": (
        "claude-sonnet-4-5", "api.anthropic.com", NOON,
        {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 201_100,
         "input_details": {"cache_read_input_tokens": 200_000, "cache_creation_input_tokens": 0},
         "response_id": "msg_02"},
        128_250_000, "USD", "priced",
    ),
    # ai-proxy's conversion of Claude drops the cache counts: at least 100 x 3 + 50 x 15 = 300 + 750.
    "claude through ai-proxy": (
        "claude-sonnet-4-5", "api.anthropic.com", NOON,
        {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150, "response_id": "msg_03"},
        1_050_000, "USD", "partial",
    ),
    # Gemini: cached within input, thoughts beside output.
    # 600 x 1.25 + 400 x 0.125 + (77 + 250) x 10 = 750 + 50 + 3270.
    "gemini native": (
        "gemini-2.5-pro", "generativelanguage.googleapis.com", NOON,
        {"input_tokens": 1000, "output_tokens": 77, "total_tokens": 1327,
         "input_details": {"cached_content_token_count": 400}, "output_details": {"thoughts_token_count": 250}},
        4_070_000, "USD", "priced",
    ),
    # ai-proxy's conversion of Gemini leaves the thoughts in the total only: 1327 - 1000 - 77 = 250.
    # 1000 x 1.25 + 327 x 10 = 1250 + 3270.
    "gemini through ai-proxy": (
        "gemini-2.5-pro", "llm-gemini.internal.dns", NOON,
        {"input_tokens": 1000, "output_tokens": 77, "total_tokens": 1327},
        4_520_000, "USD", "priced",
    ),
    # Bedrock behind ai-proxy: 9000 read or written, beside input; all read is the least it can have cost.
    # In a region: 12 x 3.3 + 9000 x 0.33 + 100 x 16.5 = 39.6 + 2970 + 1650.
    "bedrock through ai-proxy": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock-runtime.us-east-1.amazonaws.com", NOON,
        {"input_tokens": 12, "output_tokens": 100, "total_tokens": 112, "input_details": {"cached_tokens": 9000}},
        4_659_600, "USD", "partial",
    ),
    # xAI: reasoning beside output, as the total shows: 32 + 9 + 142 = 183. 32 x 3 + 151 x 15 = 96 + 2265.
    "xai chat": (
        "grok-4", "api.x.ai", NOON,
        {"input_tokens": 32, "output_tokens": 9, "total_tokens": 183, "output_details": {"reasoning_tokens": 142}},
        2_361_000, "USD", "priced",
    ),
    # Qwen that thought: all of its output at 8. 1000 x 0.8 + 500 x 8 = 800 + 4000.
    "qwen thinking": (
        "qwen-plus", "dashscope.aliyuncs.com", NOON,
        {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500,
         "output_details": {"reasoning_tokens": 300}},
        4_800_000, "CNY", "priced",
    ),
    # Qwen that did not: 1000 x 0.8 + 500 x 2 = 800 + 1000.
    "qwen without thinking": (
        "qwen-plus", "dashscope.aliyuncs.com", NOON,
        {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500},
        1_800_000, "CNY", "priced",
    ),
    # The same counts at a shop abroad: 1000 x 0.4 + 500 x 4 = 400 + 2000.
    "qwen thinking, international": (
        "qwen-plus", "dashscope-intl.aliyuncs.com", NOON,
        {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500,
         "output_details": {"reasoning_tokens": 300}},
        2_400_000, "USD", "priced",
    ),
    # DeepSeek: 600 x 0.15 + 400 x 0.003 + 100 x 0.6 = 90 + 1.2 + 60.
    "deepseek off-peak": (
        "deepseek-chat", "api.deepseek.com", NOON,
        {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100, "input_details": {"cached_tokens": 400}},
        151_200, "USD", "priced",
    ),
    # Twice that in the morning of a working day in China.
    "deepseek peak": (
        "deepseek-chat", "api.deepseek.com", PEAK,
        {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100, "input_details": {"cached_tokens": 400}},
        302_400, "USD", "priced",
    ),
    # GLM by input and output length. Short: 1000 x 2 + 100 x 8 = 2000 + 800.
    "glm, short": (
        "glm-4.6", "open.bigmodel.cn", NOON,
        {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100},
        2_800_000, "CNY", "priced",
    ),
    # A long answer: 1000 x 3 + 500 x 14 = 3000 + 7000, its cached half at 0.6: 500 x 3 + 500 x 0.6 + 7000.
    "glm, long answer, half cached": (
        "glm-4.6", "open.bigmodel.cn", NOON,
        {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500, "input_details": {"cached_tokens": 500}},
        8_800_000, "CNY", "priced",
    ),
    # A long question: 32,000 x 4 + 100 x 16 = 128,000 + 1600.
    "glm, long question": (
        "glm-4.6", "open.bigmodel.cn", NOON,
        {"input_tokens": 32_000, "output_tokens": 100, "total_tokens": 32_100},
        129_600_000, "CNY", "priced",
    ),
    # Embeddings cost by input alone: 1000 x 0.02; and 1000 x 0.5, whatever is logged as output.
    "openai embedding": (
        "text-embedding-3-small", "api.openai.com", NOON,
        {"input_tokens": 1000, "output_tokens": None, "total_tokens": 1000},
        20_000, "USD", "priced",
    ),
    "qwen embedding": (
        "text-embedding-v4", "dashscope.aliyuncs.com", NOON,
        {"input_tokens": 1000, "output_tokens": 7, "total_tokens": 1007},
        500_000, "CNY", "priced",
    ),
    # A reranking: 1000 x 0.8.
    "qwen rerank": (
        "gte-rerank-v2", "dashscope.aliyuncs.com", NOON,
        {"input_tokens": 1000, "output_tokens": 0, "total_tokens": 1000},
        800_000, "CNY", "priced",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_a_record_costs_what_was_worked_out_by_hand(case: str) -> None:
    model, host, when, counts, nano, currency, status = GOLDEN[case]
    at_ms = round(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) * 1000
    cost = CATALOG.cost(model, host, at_ms, normalise(**counts))
    assert (cost.nano, cost.currency, cost.status) == (nano, currency, status)
