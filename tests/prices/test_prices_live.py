"""Price lists that are read anew when their files change."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.prices.catalog import Catalog
from monitor.prices.live import LiveCatalog
from monitor.prices.overlay import PriceFileError
from monitor.rounds import Usage

ROW = 'schema = 1\n[[price]]\nmatch = ["mine"]\ncurrency = "USD"\nper = 1000\ninput = "{}"\noutput = "1"\n'


def live(file: Path) -> LiveCatalog:
    return LiveCatalog(lambda: Catalog.load([file]), [file])


def cost(prices: LiveCatalog) -> int | None:
    return prices.cost("mine", None, 1_769_938_200_000, Usage(1000, 0)).nano


def test_a_changed_file_is_in_use_after_the_next_look_and_has_another_version(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(ROW.format("1"))
    prices = live(file)
    before = prices.version
    assert cost(prices) == 10**9
    assert not prices.refresh()
    file.write_text(ROW.format("22"))
    assert cost(prices) == 10**9
    assert prices.refresh()
    assert cost(prices) == 22 * 10**9
    assert prices.version != before


def test_a_file_with_a_mistake_leaves_the_prices_as_they_were_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(ROW.format("1"))
    prices = live(file)
    file.write_text(ROW.format("one"))
    assert not prices.refresh()
    assert cost(prices) == 10**9
    assert f"{file}:6" in str(prices.problem)
    file.write_text(ROW.format("3"))
    assert prices.refresh()
    assert prices.problem is None
    assert cost(prices) == 3 * 10**9


def test_a_file_that_can_not_be_used_from_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match="nowhere"):
        live(tmp_path / "nowhere.toml")
