"""Price files: what they can say, and that what is unclear is refused with a way out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from monitor.prices import overlay
from monitor.prices.catalog import Catalog
from monitor.prices.overlay import PriceFileError
from monitor.rounds import Usage

DATA = sorted((Path(overlay.__file__).parent / "data").glob("*.toml"))
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def write(folder: Path, text: str, name: str = "prices.toml") -> Path:
    path = folder / name
    path.write_text("schema = 1\n" + text, encoding="utf-8")
    return path


ROW = '[[price]]\nmatch = ["acme-1"]\ncurrency = "CNY"\nper = 1000\ninput = "0.02"\noutput = "0.06"\n'


def test_a_row_is_read_to_the_last_digit(tmp_path: Path) -> None:
    (row,) = overlay.load(write(tmp_path, ROW + 'source = "contract 17"\nchecked = 2026-11-20\n')).rows
    rates = row.epoch.plan.tiers[0].rates
    assert (rates.input, rates.output, rates.cached) == (Decimal(20), Decimal(60), None)
    assert (row.match, row.currency, row.source, row.checked) == (
        ("acme-1",),
        "CNY",
        "contract 17",
        date(2026, 11, 20),
    )


@pytest.mark.parametrize("number", ['"0.3"', "0.3", '"0.30"'])
def test_text_and_plain_numbers_are_the_same_price(tmp_path: Path, number: str) -> None:
    (row,) = overlay.load(write(tmp_path, ROW.replace('"0.02"', number))).rows
    assert row.epoch.plan.tiers[0].rates.input == 300


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("per = 1000\n", ""), "`per` must say for how many tokens"),
        (("per = 1000\n", "per = 100\n"), "`per` must say for how many tokens"),
        (('currency = "CNY"\n', ""), "`currency` must be a currency code"),
        (('"CNY"', '"yuan"'), "`currency` must be a currency code"),
        (('"0.02"', '"-0.02"'), "`input` is -0.02; a price cannot be negative"),
        (('"0.02"', "-1"), "cannot be negative"),
        (('"0.02"', '"NaN"'), "a finite number"),
        (('"0.02"', "inf"), "a finite number"),
        (('"0.02"', '"cheap"'), "no number"),
        (('"0.02"', "true"), "must be a number"),
        (('"0.02"', "0.30000000000000004"), "rounded by a computer"),
        (('"0.02"', '"1e-30"'), "rounded by a computer"),
        (("input =", "inptu ="), "`inptu` is not known here; known are cache"),
        (('input = "0.02"\noutput = "0.06"\n', ""), "`input` is missing"),
        (('input = "0.02"', "free = true\ninput = 1"), "`input` contradicts `free = true`"),
        (('input = "0.02"\noutput = "0.06"', "free = false"), "can only be true"),
        (('"0.02"\noutput = "0.06"', '"0"\noutput = "0"'), "write `free = true`"),
        (('match = ["acme-1"]', 'match = "acme-1"'), "`match` must list model names"),
        (('match = ["acme-1"]', "match = []"), "`match` must list model names"),
        (('match = ["acme-1"]', 'match = ["acme-*"]'), "names are matched whole"),
        (("per = 1000\n", 'per = 1000\nfrom = "2026-02-30"\n'), "write a UTC date"),
        (("per = 1000\n", "per = 1000\nfrom = 2026\n"), "must be a UTC date"),
        (("per = 1000\n", "per = 1000\nfrom = 2026-01-01T08:00:00\n"), "a time without a zone"),
        (
            ("per = 1000\n", "per = 1000\nfrom = 2026-02-01\nuntil = 2026-02-01\n"),
            "must be later than `from`",
        ),
        (("per = 1000\n", 'per = 1000\nhours = [{ utc = ["9-10"], input = 1 }]\n'), "write a span of hours"),
        (("per = 1000\n", "per = 1000\ntiers = []\n"), "stands beside `tiers`"),
        (
            ('input = "0.02"\noutput = "0.06"', "tiers = [{ up_to_input = 5, input = 1 }]"),
            "must end with a tier",
        ),
        (('input = "0.02"\noutput = "0.06"', "tiers = [{ up_to = 5, input = 1 }]"), "`up_to` is not known"),
    ],
)
def test_what_is_unclear_is_refused(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    assert change[0] in ROW
    path = write(tmp_path, ROW.replace(*change))
    with pytest.raises(PriceFileError) as error:
        overlay.load(path)
    assert complaint in str(error.value)
    assert str(error.value).startswith(f"{path}:")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[regions]\nqwen = 'nowhere'\n", "must be one of alibaba-cn, alibaba-intl"),
        ("[regions]\ngpt = 'openai'\n", "has no regional lists"),
        ("[aliases]\nep-1 = 5\n", "must be a model name"),
        ("[fx]\nCNY = { per_usd = 7.0 }\n", 'must be { per_usd = "7.0"'),
        ("[fx]\nCNY = { per_usd = '0', as_of = 2026-11-20 }\n", "must be above zero"),
        ("base_currency = 'dollar'\n", "`base_currency` must be a currency code"),
        ("surprise = 1\n", "`surprise` is not known"),
        ("price = 5\n", "begin each with `[[price]]`"),
        ("[[price]\n", "is not TOML"),
        ("[[gateway]]\nmatch = ['x']\nper = 1000\n", "`per` is not known"),
    ],
)
def test_the_rest_of_a_file_is_checked_as_well(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(PriceFileError) as error:
        overlay.load(write(tmp_path, text))
    assert complaint in str(error.value)


def test_a_file_without_its_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(ROW)
    with pytest.raises(PriceFileError, match="schema = 1"):
        overlay.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match=r"absent\.toml: cannot be read"):
        overlay.load(tmp_path / "absent.toml")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_bytes(b"schema = 1 # \xff")
    with pytest.raises(PriceFileError, match="UTF-8"):
        overlay.load(path)


def test_an_error_points_to_the_line_of_the_key(tmp_path: Path) -> None:
    path = write(tmp_path, ROW + "\n" + ROW.replace("acme-1", "acme-2").replace('"0.06"', '"-1"'))
    with pytest.raises(PriceFileError) as error:
        overlay.load(path)
    line = path.read_text().splitlines().index('output = "-1"') + 1
    assert str(error.value).startswith(f"{path}:{line} (price 2): `output`")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ROW + "[fx]\nUSD = { per_usd = '1', as_of = 2026-01-01 }\nCNY = { per_usd = 7 } # here\n", "`fx.CNY` must be"),
        ("[fx]\nCNY = { per_usd = '0', as_of = 2026-11-20 } # here\n", "`fx.CNY.per_usd` must be above zero"),
        ("[fx.CNY]\nas_of = 2026-11-20\nper_usd = '-7' # here\n", "`fx.CNY.per_usd` is -7"),
        ("[fx]\nyuan = 7 # here\n", "`fx.yuan` must be a currency code"),
        ("[regions]\nqwen = 'alibaba-cn'\nglm = 'nowhere' # here\n", "`regions.glm` must be one of"),
        ("[regions]\ngpt = 'openai' # here\n", "`regions.gpt` has no regional lists"),
        ("[regions]\nqwen = 'alibaba-cn'\nalibaba = 'alibaba-intl' # here\n", "is the same vendor as 'qwen'"),
        ('[aliases]\n"ep-1" = "gpt-4o"\n"ep-2" = 5 # here\n', "`aliases.ep-2` must be a model name"),
        ('[aliases]\na = "gpt-4o"\nA = "gpt-4" # here\n', "is the same name as 'a'"),
        ('[aliases]\n" " = "gpt-4" # here\n', "is no model name"),
        ("base_currency = 'dollar' # here\n" + ROW, "`base_currency` must be a currency code"),
        (ROW + "[surprise] # here\n", "`surprise` is not known here"),
        ("surprise = 1 # here\n", "`surprise` is not known here"),
        ("price = 5 # here\n", "`price` must be tables"),
        ("price = [{ match = ['x'] }] # here\n", "`currency` must be a currency code"),
        ("[[gateway]]\nmatch = ['x']\nper = 1000 # here\n", "`per` is not known here"),
        (ROW + ROW.replace('"acme-1"]', '"acme-2"] # here').replace('currency = "CNY"\n', "").replace(
            'match = ["acme-2"] # here\n', 'match = ["acme-2"]\n').replace("[[price]]", "[[price]] # here"),
         "`currency` must be a currency code"),
        (ROW + "# input = 1\n" + ROW.replace("acme-1", "acme-2").replace('"0.02"', '"-1" # here'), "`input` is -1"),
    ],
)  # fmt: skip
def test_a_mistake_anywhere_is_told_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    (line,) = (number for number, line in enumerate(path.read_text().splitlines(), 1) if "# here" in line)
    with pytest.raises(PriceFileError) as error:
        overlay.load(path)
    assert complaint in str(error.value)
    assert str(error.value).startswith((f"{path}:{line}: ", f"{path}:{line} ("))


TIERED = """[[price]]
match = ["acme-1"]
currency = "CNY"
per = 1000
tiers = [
  { up_to_input = 32000, up_to_output = 200, input = "1", output = "2" },
  { up_to_input = 32000, input = "3", output = "4" },
  { input = "5", output = "6" },
]
"""
HOURS = (
    ROW
    + """hours = [
  { utc = ["01:00-04:00"], input = "1" },
  { utc = ["06:00-10:00"], weekdays = true, input = "2" },
]
"""
)


@pytest.mark.parametrize(
    ("text", "change", "complaint"),
    [
        (TIERED, ('"3"', '"-3"'), "`input` is -3"),
        (TIERED, ('output = "6"', 'outptu = "6"'), "`outptu` is not known"),
        (TIERED, ("up_to_input = 32000, input", "up_to_input = 1.5, input"), "`up_to_input` must be a whole number"),
        (TIERED, ("up_to_input = 32000, input", "input"), "`input` begins a tier that no round"),
        (HOURS, ('input = "2"', 'input = "cheap"'), "`input` is 'cheap'"),
        (HOURS, ('["06:00-10:00"]', '["6-10"]'), "`utc` has '6-10'"),
        (HOURS, ('["06:00-10:00"]', '["03:59-10:00"]'), "overlaps with other hours"),
        (HOURS, ('["06:00-10:00"]', '["23:00-01:01"]'), "overlaps with other hours"),
        (HOURS, ("weekdays = true", "weekdays = 1"), "`weekdays` must be true"),
    ],
)
def test_a_mistake_in_a_tier_or_an_hour_is_told_with_the_line_of_that_one(
    tmp_path: Path, text: str, change: tuple[str, str], complaint: str
) -> None:
    assert text.count(change[0]) == 1
    overlay.load(write(tmp_path, text))
    path = write(tmp_path, text.replace(*change))
    # A tier without a bound takes all from the next, so that is the one to look at.
    wrong = '"5"' if "begins a tier" in complaint else change[1]
    line = next(number for number, line in enumerate(path.read_text().splitlines(), 1) if wrong in line)
    with pytest.raises(PriceFileError) as error:
        overlay.load(path)
    assert complaint in str(error.value)
    assert str(error.value).startswith(f"{path}:{line} (price 1): ")


def test_a_tier_that_no_round_reaches_is_refused(tmp_path: Path) -> None:
    twice = TIERED.replace("up_to_input = 32000, up_to_output = 200", "up_to_input = 32000")
    with pytest.raises(PriceFileError, match=r":8 \(price 1\): `up_to_input` begins a tier"):
        overlay.load(write(tmp_path, twice))


def test_two_prices_for_the_same_day_are_refused(tmp_path: Path) -> None:
    old = ROW + "until = 2026-03-01\n"
    overlay.load(write(tmp_path, old + ROW + "from = 2026-03-01\n"))
    overlay.load(write(tmp_path, ROW + ROW + 'provider = "azure"\n'))
    with pytest.raises(PriceFileError, match=r"overlap with another row for 'acme-1' \(line 2\)"):
        overlay.load(write(tmp_path, old + ROW + "from = 2026-02-28\n"))
    with pytest.raises(PriceFileError, match="overlap"):
        overlay.load(write(tmp_path, ROW + ROW.replace("acme-1", "ACME-1")))


def test_the_users_price_wins_for_its_time_only(tmp_path: Path) -> None:
    row = ROW.replace("acme-1", "qwen-max") + "from = 2026-03-01\nuntil = 2026-04-01\n"
    catalog = Catalog.load([write(tmp_path, row)])
    # CNY 0.02 and 0.06 per thousand are 20 + 60 for a million each.
    cost = catalog.cost("qwen-max", None, ms("2026-03-15"), MILLION)
    assert (cost.status, cost.nano, cost.currency) == ("priced", 80 * 10**9, "CNY")
    assert cost.source == "overlay: qwen-max from 2026-03-01"
    # The built-in 2.4 + 9.6 before and after.
    for day in ("2026-02-28T23:59:59", "2026-04-01"):
        assert catalog.cost("qwen-max", None, ms(day), MILLION).nano == 12 * 10**9


def test_the_last_file_wins(tmp_path: Path) -> None:
    first = write(tmp_path, ROW, "first.toml")
    second = write(tmp_path, ROW.replace('"0.02"', '"0.03"'), "second.toml")
    assert Catalog.load([first, second]).cost("acme-1", None, 1, MILLION).nano == 90 * 10**9
    assert Catalog.load([second, first]).cost("acme-1", None, 1, MILLION).nano == 80 * 10**9


@pytest.mark.parametrize(
    ("provider", "host", "applies"),
    [
        ("alibaba-cn", "dashscope.aliyuncs.com", True),
        ("dashscope", "dashscope.aliyuncs.com", True),
        ("alibaba-cn", None, True),
        ("alibaba-cn", "llm-openai.internal.dns", True),
        ("our own contract", "dashscope.aliyuncs.com", True),
        ("alibaba-intl", "dashscope.aliyuncs.com", False),
        ("alibaba-cn", "openrouter.ai", False),
        ("azure", "dashscope.aliyuncs.com", False),
        ("azure", None, False),
    ],
)
def test_a_price_for_one_provider_does_not_price_another(
    tmp_path: Path, provider: str, host: str | None, applies: bool
) -> None:
    row = ROW.replace("acme-1", "qwen-max") + f'provider = "{provider}"\n'
    catalog = Catalog.load([write(tmp_path, row)])
    assert (catalog.price("qwen-max", host, ms("2026-03-15")).list == "overlay") is applies


def test_an_alias_leads_to_the_model_it_names(tmp_path: Path) -> None:
    alias = '[aliases]\n"ep-20250101120000-abcde" = "volcengine/doubao-1-5-pro-32k"\nloop = "loop"\n'
    catalog = Catalog.load([write(tmp_path, alias)])
    resolution = catalog.price("EP-20250101120000-abcde", None, ms("2026-03-15"))
    assert (resolution.rule, resolution.matched, resolution.provider) == (
        "alias",
        "doubao-1-5-pro-32k",
        "volcengine",
    )
    # CNY 0.8 in and 2 out per million.
    assert catalog.cost("ep-20250101120000-abcde", None, 1, MILLION).nano == 2_800_000_000
    assert catalog.cost("loop", None, 1, MILLION).status == "unpriced"


def test_a_pinned_region_is_no_longer_an_estimate(tmp_path: Path) -> None:
    catalog = Catalog.load([write(tmp_path, '[regions]\nqwen = "alibaba-intl"\n')])
    cost = catalog.cost("qwen-max", "llm-qwen.internal.dns", ms("2026-03-15"), MILLION)
    # USD 1.6 + 6.4.
    assert (cost.status, cost.nano, cost.currency) == ("priced", 8 * 10**9, "USD")
    assert Catalog.load().cost("qwen-max", None, ms("2026-03-15"), MILLION).status == "estimated"


def test_a_rate_of_exchange_is_kept_and_prices_nothing(tmp_path: Path) -> None:
    text = 'base_currency = "USD"\n[fx]\nCNY = { per_usd = "7.0", as_of = "2026-11-20" }\n'
    catalog = Catalog.load([write(tmp_path, text)])
    assert catalog.base_currency == "USD"
    assert catalog.fx["CNY"] == overlay.FxRate(Decimal("7.0"), date(2026, 11, 20))
    assert catalog.cost("qwen-max", None, ms("2026-03-15"), MILLION).currency == "CNY"


def test_a_slip_of_unit_is_reported(tmp_path: Path) -> None:
    slip = ROW.replace("acme-1", "doubao-pro-32k").replace('"0.02"', '"0.8"')
    (warning,) = Catalog.load([write(tmp_path, slip)]).warnings
    assert "doubao-pro-32k costs 800 CNY per million input tokens, the built-in list says 0.8" in warning
    assert Catalog.load([write(tmp_path, ROW)]).warnings == ()


def test_a_slip_of_unit_is_reported_against_the_large_list_as_well(tmp_path: Path) -> None:
    row = ROW.replace("acme-1", "gpt-4o").replace('"CNY"', '"USD"').replace('"0.02"', '"2.5"')
    (warning,) = Catalog.load([write(tmp_path, row)]).warnings
    assert "gpt-4o costs 2500 USD per million input tokens, the built-in list says 2.5" in warning
    right = row.replace("per = 1000\n", "per = 1_000_000\n")
    assert Catalog.load([write(tmp_path, right)]).warnings == ()


def test_a_provider_with_a_slip_in_its_name_is_reported(tmp_path: Path) -> None:
    (warning,) = Catalog.load([write(tmp_path, ROW + 'provider = "alibaba-ch"\n')]).warnings
    assert "prices.toml:2: nobody is known as provider 'alibaba-ch'" in warning
    assert "is 'alibaba-cn' meant?" in warning
    assert Catalog.load([write(tmp_path, ROW + 'provider = "our own contract"\n')]).warnings == ()


def test_a_row_can_say_how_long_a_request_may_be(tmp_path: Path) -> None:
    catalog = Catalog.load([write(tmp_path, ROW + "context = 131_072\nmax_output = 8192\n")])
    found = catalog.price("acme-1", None, 1)
    assert (found.context_window, found.max_output) == (131_072, 8192)
    assert Catalog.load([write(tmp_path, ROW)]).price("acme-1", None, 1).context_window is None


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "true", '"128K"'])
@pytest.mark.parametrize("key", ["context", "max_output"])
def test_a_length_is_a_whole_number_of_tokens(tmp_path: Path, key: str, count: str) -> None:
    with pytest.raises(PriceFileError, match=f"`{key}` must be a whole number of tokens above zero"):
        overlay.load(write(tmp_path, f"{ROW}{key} = {count}\n"))


def test_hours_pass_midnight_and_can_spare_the_weekend(tmp_path: Path) -> None:
    hours = 'hours = [{ utc = ["22:00-02:00"], weekdays = true, input = "0.04", output = "0.06" }]\n'
    catalog = Catalog.load([write(tmp_path, ROW + hours)])
    tokens = Usage(input_tokens=1_000_000, output_tokens=0)

    def price(moment: str) -> int | None:
        return catalog.cost("acme-1", None, ms(moment), tokens).nano

    assert price("2026-11-20T21:59:59") == 20 * 10**9  # a Friday
    assert price("2026-11-20T22:00:00") == 40 * 10**9
    assert price("2026-11-20T01:59:59") == 40 * 10**9
    assert price("2026-11-20T02:00:00") == 20 * 10**9
    assert price("2026-11-21T01:00:00") == 20 * 10**9  # a Saturday


def test_a_files_content_is_part_of_the_version(tmp_path: Path) -> None:
    first = Catalog.load([write(tmp_path, ROW)]).version
    second = Catalog.load([write(tmp_path, ROW.replace('"0.02"', '"0.03"'))]).version
    assert first != second
    assert Catalog.load(region="intl").version != Catalog.load().version
    assert Catalog.load().version == Catalog.load().version


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.name)
def test_every_built_in_row_says_where_it_comes_from_and_when_that_was_checked(path: Path) -> None:
    rows = overlay.load(path).rows
    assert rows
    for row in rows:
        assert row.source, f"{path}:{row.line}"
        assert row.checked is not None, f"{path}:{row.line}"
        assert row.checked >= date(2026, 11, 21)
        assert row.gateway or row.provider, f"{path}:{row.line}"


def test_the_built_in_lists_do_not_contradict_each_other() -> None:
    taken: dict[tuple[str, str | None], Path] = {}
    for path in DATA:
        for row in overlay.load(path).rows:
            for name in row.match:
                assert taken.setdefault((name, row.provider), path) == path
