"""How every name of a long list resolves: whose price it gets, by which rule, and which may get none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from monitor.prices.catalog import Catalog
from monitor.rounds import Usage
from tests.prices.reference import LINES, MOMENT, PRICED, REFERENCE, UNPRICED

CATALOG = Catalog.load()


@pytest.mark.parametrize("line", PRICED, ids=lambda line: line.split()[0])
def test_a_name_is_priced_by_the_entry_that_was_meant(line: str) -> None:
    name, where, entry, rule, status, currency, *rates = line.split()
    found = CATALOG.price(name, None, MOMENT)
    assert found.rates is not None
    assert (found.list, f"{found.provider}/{found.matched}", found.rule) == (where, entry, rule)
    assert (found.status, found.currency) == (status, currency)
    assert [found.rates.input, found.rates.output] == [None if rate == "-" else Decimal(rate) for rate in rates]


@pytest.mark.parametrize("name", UNPRICED)
def test_a_name_that_no_list_knows_has_no_price(name: str) -> None:
    cost = CATALOG.cost(name, None, MOMENT, Usage(1000, 1000))
    assert (cost.status, cost.nano, cost.currency, cost.source) == ("unpriced", None, None, None)
    found = CATALOG.price(name, None, MOMENT)
    assert (found.status, found.rule, found.rates) == ("unpriced", None, None)


def test_the_list_is_long_and_names_nothing_twice() -> None:
    names = [line.split()[0] for line in LINES]
    assert len(names) == len(set(names)) >= 150
    families = [line.removeprefix("# ") for line in REFERENCE.splitlines() if line.startswith("# ")]
    assert len(families) == 12
