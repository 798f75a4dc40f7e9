"""Links open one session until their time is over, and nothing that is changed in them is believed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.access.links import KEY_NAME, LASTS_S, Signer, link, opened
from monitor.config import ConfigError

BASE = "https://example.org/monitor"


def parts(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_a_link_opens_its_session_and_no_other(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    url, end = link(signer, BASE, "agent:main:main")
    said = parts(url)
    assert url.startswith(f"{BASE}/session?id=agent%3Amain%3Amain&")
    assert said["id"] == "agent:main:main"
    assert int(said["expires"]) == end
    assert opened(Signer(tmp_path), "agent:main:main", said["expires"], said["key"]) == "c"
    for other in ("agent:main:mai", "agent:main:main ", "agent:main:*", "*", "", "Agent:main:main"):
        assert opened(signer, other, said["expires"], said["key"]) is None


def test_a_link_lasts_a_week_and_ends_on_a_whole_hour(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    before = time.time()
    url, end = link(signer, BASE, "s")
    assert end % 3600 == 0
    assert LASTS_S <= end - before <= LASTS_S + 3600
    said = parts(url)
    assert opened(signer, "s", said["expires"], said["key"], now=end - 1) == "c"
    assert opened(signer, "s", said["expires"], said["key"], now=end) is None


def test_a_link_of_a_token_ends_with_it_and_opens_no_more_than_it(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    soon = int(time.time()) + 60
    url, end = link(signer, BASE, "s", content=False, until=soon)
    said = parts(url)
    assert end == soon
    assert opened(signer, "s", said["expires"], said["key"]) == "f"
    assert opened(signer, "s", said["expires"], "c" + said["key"][1:]) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.text(max_size=30),
    st.one_of(st.text(max_size=15), st.integers().map(str)),
    st.text(max_size=60),
)
def test_nothing_that_is_made_up_opens_anything(tmp_path: Path, session: str, expires: str, key: str) -> None:
    assert opened(Signer(tmp_path), session, expires, key) is None


def test_every_changed_character_of_a_link_closes_it(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    said = parts(link(signer, BASE, "s")[0])
    for at, char in enumerate(said["key"]):
        changed = said["key"][:at] + ("A" if char != "A" else "B") + said["key"][at + 1 :]
        assert opened(signer, "s", said["expires"], changed) is None
    later = str(int(said["expires"]) + 1)
    for expires in (later, "0" + said["expires"], said["expires"] + " ", "٣" + said["expires"][1:], ""):
        assert opened(signer, "s", expires, said["key"]) is None


def test_parts_cannot_be_moved_over_their_borders_and_purposes_do_not_mix(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    assert signer.sign("link", "a", "bc") != signer.sign("link", "ab", "c")
    assert signer.sign("link", "a\x001:b") != signer.sign("link", "a", "b")
    assert signer.sign("link", "a") != signer.sign("cookie", "a")
    assert signer.signed(signer.sign("link", "a"), "link", "a")


def test_another_data_directory_opens_nothing(tmp_path: Path) -> None:
    said = parts(link(Signer(tmp_path / "one"), BASE, "s")[0])
    assert opened(Signer(tmp_path / "two"), "s", said["expires"], said["key"]) is None


def test_the_key_is_its_owners_alone_and_the_same_for_all_who_ask_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        signed = set(pool.map(lambda _: Signer(tmp_path).sign("link", "s"), range(16)))
    assert len(signed) == 1
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]


def test_a_damaged_key_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / KEY_NAME).write_bytes(b"short")
    with pytest.raises(ConfigError, match=KEY_NAME):
        Signer(tmp_path).sign("link", "s")
    assert (tmp_path / KEY_NAME).read_bytes() == b"short"
