"""Newer lists of genai-prices: fetched on demand, checked, kept, and gone back from."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from monitor.prices import updates
from monitor.prices.catalog import Catalog
from monitor.prices.updates import FILE_NAME, UpdateError
from monitor.rounds import Usage
from tests.prices.published import as_file, published

NOW = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 1000
NEWER = as_file(published(gpt_4o=Decimal("7.125")))


@contextmanager
def served(content: bytes, status: int = 200, **headers: str) -> Iterator[str]:
    """The address at which `content` stands."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/data.json"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def input_price(catalog: Catalog) -> int | None:
    return catalog.cost("gpt-4o", None, NOW, Usage(1_000_000, 0)).nano


def test_what_is_published_now_is_used_from_then_on_and_named(tmp_path: Path) -> None:
    with served(NEWER) as url:
        kept = updates.keep(tmp_path, updates.fetch(url), url)
    catalog = Catalog.load(data_dir=tmp_path)
    assert input_price(catalog) == 7_125_000_000
    assert catalog.version.startswith(f"genai-prices {kept.day} ")
    assert kept.day.isoformat() in str(catalog.cost("gpt-4o", None, NOW, Usage(1, 0)).source)
    # What is ours stays ours, and others are as they were.
    assert catalog.cost("glm-4", None, NOW, Usage(1000, 0)).nano == 100_000_000
    assert catalog.cost("claude-opus-4-5", None, NOW, Usage(1000, 0)).nano == 5_000_000
    # Who names no data directory uses what is installed.
    assert input_price(Catalog.load()) == 2_500_000_000


def test_it_can_be_gone_back_from(tmp_path: Path) -> None:
    assert updates.remove(tmp_path) is False
    updates.keep(tmp_path, NEWER, "a file")
    assert updates.remove(tmp_path) is True
    assert input_price(Catalog.load(data_dir=tmp_path)) == 2_500_000_000
    assert Catalog.load(data_dir=tmp_path).version == Catalog.load().version
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_for_its_owner_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    updates.keep(folder, NEWER, "a file")
    updates.keep(folder, NEWER, "a file")
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600


def test_the_same_lists_are_the_same_version_and_others_another(tmp_path: Path) -> None:
    versions = []
    for number, content in enumerate((NEWER, NEWER, as_file(published(gpt_4o=Decimal("7.25"))))):
        updates.keep(tmp_path / str(number), content, "a file")
        versions.append(Catalog.load(data_dir=tmp_path / str(number)).version)
    assert versions[0] == versions[1] != versions[2]


def cut() -> bytes:
    return as_file([provider for provider in published() if provider["id"] in ("openai", "anthropic", "google")])


def without(provider: str) -> bytes:
    return as_file([each for each in published() if each["id"] != provider])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is no price list"),
        (b"<html>not found</html>", "is no price list"),
        (NEWER[: len(NEWER) // 2], "is no price list"),
        (b"\xff\xfe", "is no price list"),
        (b"{}", "is no price list"),
        (b"[1, 2]", "is no price list"),
        (b"[" * 200_000, "is no price list"),
        (b"[]", "has prices of 0 models"),
        (cut(), "it is cut, or another file"),
        (without("openai"), "it is cut, or another file"),
        (as_file(published(gpt_4o=Decimal(-1))), "gpt-4o has a price that is none"),
    ],
    ids=[
        "empty",
        "a page",
        "torn",
        "no text",
        "no list",
        "no providers",
        "deep",
        "none",
        "cut",
        "no openai",
        "below 0",
    ],
)
def test_what_is_no_price_list_changes_nothing(tmp_path: Path, content: bytes, complaint: str) -> None:
    updates.keep(tmp_path, NEWER, "a file")
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(UpdateError, match=complaint):
        updates.keep(tmp_path, content, "that file")
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("status", [404, 500])
def test_an_address_that_fails_is_named_with_the_way_out(status: int) -> None:
    with served(b"no", status) as url, pytest.raises(UpdateError, match=f"{status}.*--file FILE") as error:
        updates.fetch(url)
    assert str(error.value).startswith(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://nobody.invalid/x", "ftp://x/y", "not an address", ""])
def test_an_address_that_leads_nowhere_is_no_traceback(url: str) -> None:
    with pytest.raises(UpdateError, match="prices in use stay as they are"):
        updates.fetch(url)


def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "MAX_BYTES", 1000)
    with served(b"x" * 5000) as url, pytest.raises(UpdateError, match="larger than 1,000 bytes"):
        updates.fetch(url)
    file = tmp_path / "large"
    file.write_bytes(b"x" * 1001)
    with pytest.raises(UpdateError, match="larger than 1,000 bytes"):
        updates.read(file)
    file.write_bytes(b"x" * 1000)
    assert len(updates.read(file)) == 1000


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="absent: cannot be read"):
        updates.read(tmp_path / "absent")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UpdateError, match="cannot be written"):
        updates.keep(tmp_path / "file", NEWER, "a file")


def damaged(content: bytes) -> bytes:
    return content.replace(b"7.125", b"0.125")


def of_another_library(content: bytes) -> bytes:
    head, _, rest = content.partition(b"\n")
    return json.dumps({**json.loads(head), "library": "0.1.0"}).encode() + b"\n" + rest


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (damaged, "was damaged, the installed price list is used"),
        (of_another_library, "was made for genai-prices 0.1.0"),
        (lambda content: content[:50], "cannot be used, the installed price list is"),
        (lambda content: b"", "cannot be used, the installed price list is"),
    ],
    ids=["damaged", "another library", "torn", "empty"],
)
def test_a_kept_file_that_cannot_be_trusted_is_left_alone_and_told(tmp_path: Path, change: Any, complaint: str) -> None:
    updates.keep(tmp_path, NEWER, "a file")
    file = tmp_path / FILE_NAME
    file.write_bytes(change(file.read_bytes()))
    catalog = Catalog.load(data_dir=tmp_path)
    (warning,) = catalog.warnings
    assert complaint in warning
    assert "prices update --remove" in warning
    assert input_price(catalog) == 2_500_000_000
    assert catalog.version == Catalog.load().version


def test_an_update_grows_old_as_well(tmp_path: Path) -> None:
    kept = updates.keep(tmp_path, NEWER, "a file")
    catalog = Catalog.load(data_dir=tmp_path)
    day = round(datetime(kept.day.year, kept.day.month, kept.day.day, tzinfo=UTC).timestamp() * 1000)
    assert f"the update of genai-prices is of {kept.day}" in str(catalog.stale(day + 61 * 86_400_000))


def test_the_library_says_itself_where_it_publishes() -> None:
    from genai_prices.update_prices import UpdatePrices

    assert updates.published_address() == UpdatePrices().url
    assert updates.published_address().startswith("https://")
