"""Secrets are masked wherever they stand, nothing else is, and what was JSON stays JSON."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.redaction import Redactor, mask, mask_name
from monitor.rounds import START, Conversation, Round
from monitor.samples import DEMO, Expected, lines
from monitor.store.sqlite import SqliteStore
from tests.helpers import check_totals, run

_A = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
#: Made up, each of the published form of its kind.
SECRETS = {
    "api-key": [
        f"sk-proj-{_A}",
        f"sk-ant-api03-{_A}",
        f"sk-or-v1-{_A}",
        "sk-0123456789abcdef0123456789abcdef",
        f"gsk_{_A}abcdef",
        f"xai-{_A}abcdef",
        f"hf_{_A}",
    ],
    "google-key": [f"AIzaSy{_A[:33]}"],
    "aws-key": ["AKIAIOSFODNN7EXAMPLE"],
    "cloud-key": ["LTAI5tAbCdEfGhIjKlMnOpQr"],
    "github-token": [f"ghp_{_A}", f"github_pat_{_A}"],
    "gitlab-token": ["glpat-AbCdEfGhIjKlMnOpQrSt"],
    "slack-token": ["xoxb-123456789012-abcdefghijkl"],
    "stripe-key": [f"sk_live_{_A[:24]}", f"whsec_{_A}"],
    "package-token": [f"npm_{_A}"],
    "sendgrid-key": [f"SG.{_A[:22]}.{_A}abcdefg"],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w"],
    "private-key": [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA+/=\nabc\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk",
    ],
}
#: Text around a secret, the secret, and how much of the text stays.
PLACED = [
    ("postgres://admin:", "hunter2", "@db.internal/main"),
    ("Authorization: Bearer ", "abcdef0123456789abcdef", ""),
    ("authorization: basic ", "dXNlcjpwYXNzd29yZDE=", ""),
    ("DB_PASSWORD=", "correct-horse-9", "\n"),
    ('{"client_secret": "', "s3cr3t-value-1", '"}'),
    ("key of glm: 0123456789abcdef0123456789abcdef.", _A[:16], " done"),
    ("https://hooks.slack.com/services/", "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", ""),
    ("bot 123456789:", f"AA{_A[:33]}", ""),
]
HARMLESS = [
    "max_tokens: 12345678, input_token=4096",
    "the password: is not here, and the secret = of it is not either",
    "see https://example.com:8080/path?a=b and mail me@example.com",
    "risk-assessment-of-the-project-and-more, task-0123456789-abcdefghijklm",
    "commit 0123456789abcdef0123456789abcdef01234567 of 2026-11-20T09:30:15.123Z",
    "session agent:main:discord:channel:1480012345678901234",
    "const password = process.env.PASSWORD; // basic authentication",
    "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
]


def encoded(text: str, depth: int) -> bytes:
    """The text as a JSON string in a JSON string, and so on."""
    for _ in range(depth):
        text = json.dumps(text, ensure_ascii=False)
    return text.encode()


def decoded(text: bytes, depth: int) -> str:
    value = text.decode()
    for _ in range(depth):
        value = json.loads(value)
    return value


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("kind", "secret"), [(kind, one) for kind, some in SECRETS.items() for one in some])
def test_each_known_form_is_masked_and_nothing_around_it(kind: str, secret: str, depth: int) -> None:
    for before, behind in (("", ""), ("it is ", " now"), ("line\n", "\nline"), ("<", ">"), ('"', '"'), ("(", ")")):
        if kind == "private-key" and behind == "\nline" and "END" not in secret:
            continue  # where a key is cut nobody knows where it ends
        masked = mask(encoded(before + secret + behind, depth))
        assert decoded(masked, depth) == f"{before}[masked:{kind}]{behind}"


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("before", "secret", "behind"), PLACED)
def test_what_stands_where_secrets_stand_is_masked(before: str, secret: str, behind: str, depth: int) -> None:
    told = decoded(mask(encoded(before + secret + behind, depth)), depth)
    assert secret not in told
    assert told.startswith(before)
    assert told.endswith(behind)
    assert "[masked:" in told


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert mask(encoded(text, 1)) == encoded(text, 1)
    assert mask(encoded(text, 3)) == encoded(text, 3)


def pieces() -> st.SearchStrategy[str]:
    parts = [one for some in SECRETS.values() for one in some] + [a + b + c for a, b, c in PLACED] + HARMLESS
    glue = ["", " ", "\n", "\\", '"', "'", "=", ":", "@", "password=", '"secret": ', "1", "://", "\t", "\\n", "é", "."]
    return st.lists(st.sampled_from(parts + glue) | st.text(max_size=4), max_size=8).map("".join)


def values() -> st.SearchStrategy[object]:
    numbers = st.integers() | st.floats(allow_nan=False) | st.sampled_from([12345678901234567890123456789012.1])
    leaves = pieces() | numbers | st.booleans() | st.none()
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["password", "api_key", "n"]) | pieces(), inner, max_size=3)
            | inner.map(json.dumps)
        ),
        max_leaves=8,
    )


@settings(max_examples=500, deadline=None)
@given(values(), st.booleans(), st.sampled_from([None, 1]))
def test_json_stays_json_of_the_same_shape_and_masking_twice_is_masking_once(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    masked = mask(text)
    assert mask(masked) == masked
    assert shape(json.loads(masked.decode("utf-8", "surrogatepass"))) == shape(value)


def shape(value: object) -> object:
    """Everything but the texts."""
    if isinstance(value, str):
        return str
    if isinstance(value, list):
        return [shape(one) for one in value]
    if isinstance(value, dict):
        return [shape(one) for one in value.values()]
    return value


def test_names_stay_apart_when_they_are_secrets() -> None:
    assert mask_name("agent:main:main") == "agent:main:main"
    one, other = mask_name(f"sk-{_A}"), mask_name(f"sk-{_A[::-1]}")
    assert one != other
    assert _A not in one
    assert one == mask_name(f"sk-{_A}")


# -- rounds ---------------------------------------------------------------------------------------


def said(*texts: str, base: int = 0) -> Conversation:
    messages = tuple(msgspec.json.encode({"role": "user", "content": text}) for text in texts)
    before = START.after(messages[:base])
    return Conversation(
        messages[base:], START.after(messages), before, lambda: messages, question=msgspec.json.encode(texts[-1])
    )


def one_round(number: int, conversation: Conversation) -> Round:
    return Round(key=bytes([number]) * 16, source="higress", started_at=1, conversation=conversation)


def test_a_conversation_is_recognised_by_its_masked_beginning() -> None:
    secret = f"sk-{_A}"
    redactor = Redactor()
    texts = [f"mine is {secret}", "and now?", f"again {secret}"]
    kept = []
    for turn in (1, 2, 3):
        conversation = redactor.round(one_round(turn, said(*texts[:turn], base=turn - 1))).conversation
        assert conversation is not None
        kept.append(conversation)
        # Only what is new was given, and it goes on where the last one ended.
        assert len(conversation.messages) == 1
        assert conversation.base == (kept[-2].end if turn > 1 else START)
        assert conversation.end == conversation.base.after(conversation.messages)
        assert conversation.whole is not None
        assert START.after(conversation.whole()) == conversation.end
    assert secret.encode() not in b"".join(kept[2].whole() if kept[2].whole else ())
    # One that never saw the beginning takes all of it.
    late = Redactor().round(one_round(4, said(*texts, base=2))).conversation
    assert late is not None
    assert (late.base, late.end, len(late.messages)) == (START, kept[2].end, 3)


def _line(number: int, texts: list[str]) -> bytes:
    body = {
        "answer": f"your key is {texts[-1]}",
        "input_token": 10,
        "messages": [{"role": "system", "content": "x" * 3000}, *({"role": "user", "content": t} for t in texts)],
        "model": "gpt-5.4",
        "new_field": texts[-1],
        "output_token": 5,
        "question": texts[-1],
        "reasoning": f"the key is {texts[-1]}",
        "session_id": "agent:main:main",
        "tool_calls": [{"function": {"arguments": json.dumps({"api_key": texts[-1]}), "name": "f"}}],
    }
    outer = {
        "ai_log": json.dumps(body, separators=(",", ":")),
        "path": f"/v1/{texts[-1]}/chat",
        "request_id": f"request-{number}",
        "start_time": f"2026-02-01T10:00:{number:02d}.000Z",
    }
    return json.dumps(outer, separators=(",", ":")).encode() + b"\n"


def test_nothing_that_is_kept_or_exported_holds_a_secret(tmp_path: Path) -> None:
    log, data, config = tmp_path / "access.log", tmp_path / "data", tmp_path / "session-monitor.toml"
    config.write_text('[privacy]\ncontent = "redacted"\n')
    texts = [f"sk-{number:02d}{_A}" for number in range(12)]
    written = [_line(number, texts[: number + 1]) for number in range(12)]
    log.write_bytes(b"".join(written) + written[3][:-40] + b"\n")
    arguments = ["--data-dir", str(data), "--log-path", str(log), "--config", str(config)]
    run("ingest", "--once", *arguments)
    shown = run("show", *arguments, "agent:main:main", "--json")[0]
    assert _A not in shown
    session = json.loads(shown)
    assert len(session["rounds"]) == 12
    assert [len(r["messages"]) for r in session["rounds"]] == list(range(2, 14))
    assert session["rounds"][11]["messages"][12]["content"] == "[masked:api-key]"
    assert session["rounds"][11]["answer"] == "your key is [masked:api-key]"
    assert "[masked:api-key]" in json.dumps(session["rounds"][11]["tool_calls"])
    assert _A not in run("list", *arguments, "--json")[0]
    assert _A not in run("doctor", *arguments, "--json", code=None)[0]
    assert _A.encode() not in b"".join(file.read_bytes() for file in data.iterdir())


def test_redacted_logs_count_as_others_do_and_are_stored_once(tmp_path: Path) -> None:
    log, config = tmp_path / "access.log", tmp_path / "session-monitor.toml"
    expected = Expected()
    log.write_bytes(b"".join(lines(DEMO, 12, 400, expected)))
    sizes = []
    for content in ("full", "redacted"):
        data = tmp_path / content
        config.write_text(f'[privacy]\ncontent = "{content}"\n')
        run("ingest", "--once", "--data-dir", data, "--log-path", log, "--config", config)
        with closing(SqliteStore(data, read_only=True)) as store:
            check_totals(store, expected, DEMO)
            stored = store.rounds("agent:main:main").rounds
            contents = list(store.content(stored))
            assert all((content is not None) == one.has_content for one, content in zip(stored, contents, strict=True))
        sizes.append(sum(file.stat().st_size for file in data.glob("history-*.db")))
    # Masked beginnings are shared as the others are.
    assert sizes[1] < 1.2 * sizes[0]
