"""The lists that are shipped and named by those who want them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.prices import lists, overlay
from monitor.prices.catalog import Catalog
from monitor.prices.overlay import PriceFileError
from monitor.rounds import Usage

CATALOG = Catalog.load(["usage-cny"])
NOW = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 1000

#: CNY per thousand tokens, as the usage monitor's users know them.
KNOWN = [
    ("qwen-max", "0.02", "0.06"),
    ("qwen-plus", "0.004", "0.012"),
    ("qwen-turbo", "0.002", "0.006"),
    ("gpt-4", "0.21", "0.42"),
    ("gpt-4o", "0.035", "0.105"),
    ("gpt-4o-mini", "0.001", "0.004"),
    ("deepseek-chat", "0.001", "0.002"),
    ("deepseek-coder", "0.001", "0.002"),
    ("doubao-pro-32k", "0.008", "0.008"),
    ("doubao-lite-32k", "0.003", "0.003"),
    ("glm-4", "0.10", "0.10"),
    ("glm-3-turbo", "0.005", "0.005"),
]


@pytest.mark.parametrize(("model", "input_price", "output_price"), KNOWN)
@pytest.mark.parametrize("host", [None, "api.openai.com", "dashscope.aliyuncs.com", "llm-qwen.internal.dns"])
def test_the_usage_monitors_list_prices_as_it_did(
    model: str, input_price: str, output_price: str, host: str | None
) -> None:
    # A thousand tokens at 0.02 are 20,000,000 nano-units: the decimals of the price, nine places on.
    for usage, price in ((Usage(1000, 0), input_price), (Usage(0, 1000), output_price)):
        cost = CATALOG.cost(model, host, NOW, usage)
        whole, _, digits = price.partition(".")
        assert cost.nano == int(whole + digits.ljust(9, "0"))
        assert (cost.currency, cost.status) == ("CNY", "priced")


def test_what_is_free_there_costs_nothing_in_its_currency() -> None:
    cost = CATALOG.cost("glm-4-flash", None, NOW, Usage(1000, 1000))
    assert (cost.status, cost.nano, cost.currency) == ("free", 0, "CNY")
    assert CATALOG.base_currency == "CNY"


def test_what_it_does_not_know_is_priced_by_the_other_lists() -> None:
    assert CATALOG.cost("claude-opus-4-5", None, NOW, Usage(1000, 0)).currency == "USD"
    assert CATALOG.cost("nobody-knows-me", None, NOW, Usage(1000, 0)).status == "unpriced"


def test_every_row_says_what_it_is_and_nothing_in_it_looks_like_a_slip() -> None:
    for row in overlay.load(lists.usage_cny_path()).rows:
        assert row.source is not None
        assert "usage monitor" in row.source
        assert row.currency == "CNY"
    assert CATALOG.warnings == ()


def test_it_is_no_default() -> None:
    assert Catalog.load().price("qwen-max", None, NOW).list == "built-in"
    assert "usage-cny" in lists.shipped()


def test_a_file_of_the_users_wins_over_a_shipped_list_when_it_comes_later(tmp_path: Path) -> None:
    mine = tmp_path / "prices.toml"
    mine.write_text('schema = 1\n[[price]]\nmatch = ["qwen-max"]\ncurrency = "CNY"\nper = 1000\ninput = "1"\n')
    tokens = Usage(1000, 0)
    assert Catalog.load(["usage-cny", mine]).cost("qwen-max", None, NOW, tokens).nano == 10**9
    assert Catalog.load(["usage-cny", str(mine)]).cost("qwen-max", None, NOW, tokens).nano == 10**9
    assert Catalog.load([mine, "usage-cny"]).cost("qwen-max", None, NOW, tokens).nano == 20_000_000
    # What only the earlier one has is still there.
    assert Catalog.load(["usage-cny", mine]).cost("glm-4", None, NOW, tokens).nano == 100_000_000


@pytest.mark.parametrize("name", ["usage", "", "usage_cny"])
def test_a_list_that_is_not_shipped_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(PriceFileError, match=r"is no shipped price list \(there is usage-cny\).*\./"):
        Catalog.load([name])


@pytest.mark.parametrize(
    ("text", "name"),
    [("usage-cny", True), ("prices.toml", False), ("./prices", False), ("/etc/prices", False), ("a/b", False)],
)
def test_a_name_has_neither_folder_nor_suffix(text: str, name: bool) -> None:
    assert lists.is_name(text) is name
