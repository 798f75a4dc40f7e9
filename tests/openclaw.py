"""A small OpenClaw: writes state folders in the shapes of its releases, and reads the corpus of real ones."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zstandard

from monitor.rounds import Round
from monitor.sources.openclaw import StateFolder

CORPUS = Path(__file__).parent / "corpus" / "openclaw"
RELEASES = ("2026.7.1", "2026.9.6")
#: 2026-11-21T21:00:00Z
BEGIN = 1_795_294_800_000

_TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE session_nodes (
  session_key TEXT PRIMARY KEY, current_session_id TEXT NOT NULL, entry_json TEXT NOT NULL, parent_session_key TEXT,
  spawned_by TEXT, fork_source_session_id TEXT
);
CREATE TABLE session_windows (
  session_id TEXT PRIMARY KEY, session_key TEXT NOT NULL, previous_session_id TEXT, reason TEXT, channel TEXT,
  parent_session_key TEXT, spawned_by TEXT
);
CREATE TABLE transcript_events (
  session_id TEXT NOT NULL, seq INTEGER NOT NULL, event_json TEXT, created_at INTEGER NOT NULL, event_zstd BLOB,
  PRIMARY KEY (session_id, seq)
);
CREATE TABLE session_transcript_archives (
  session_id TEXT NOT NULL, generation TEXT NOT NULL, session_key TEXT NOT NULL, reason TEXT NOT NULL,
  encoding TEXT NOT NULL, archive_blob BLOB NOT NULL, archive_name TEXT NOT NULL UNIQUE,
  PRIMARY KEY (session_id, generation)
);
PRAGMA user_version = 23;
"""


def real(release: str, folder: Path) -> Path:
    """A copy of the state folder that a real release wrote."""
    target = folder / release / ".openclaw"
    shutil.copytree(CORPUS / release / ".openclaw", target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return target


def truth(release: str) -> dict[str, Any]:
    """What the provider was asked and what it sent, by case."""
    cases: dict[str, Any] = json.loads((CORPUS / release / "ground_truth.json").read_text())["cases"]
    return cases


def iso(ms: int) -> str:
    """A time as OpenClaw writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def header(session_id: str, at: int = BEGIN, **more: Any) -> dict[str, Any]:
    """The first record of a transcript."""
    return {"type": "session", "version": 4, "id": session_id, "timestamp": iso(at), "cwd": "/srv", **more}


def asked(id_: str, text: str, at: int = BEGIN) -> dict[str, Any]:
    """What a user said."""
    message = {"role": "user", "content": text, "timestamp": at}
    return {"type": "message", "id": id_, "parentId": None, "timestamp": iso(at), "message": message}


def answered(
    id_: str,
    at: int = BEGIN,
    *,
    input_: int = 100,
    output: int = 10,
    cached: int = 0,
    usage: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What a model said, and what that took."""
    counts = {"input": input_, "output": output, "cacheRead": cached, "cacheWrite": 0, "reasoningTokens": 0}
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": f"answer {id_}"}],
        "api": "openai-completions",
        "provider": "moonshot",
        "model": "kimi-k2.6",
        "usage": counts if usage is None else usage,
        "stopReason": "stop",
        "timestamp": at,
        "responseId": f"chatcmpl-{id_}",
        **more,
    }
    return {"type": "message", "id": id_, "parentId": None, "timestamp": iso(at + 250), "message": message}


class Database:
    """An agent's database as a release from 2026.7.2 on writes it, with the connection of a running gateway."""

    def __init__(self, root: Path, agent: str = "main") -> None:
        self.path = root / "agents" / agent / "agent" / "openclaw-agent.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.executescript(_TABLES)

    def name(self, session_id: str, key: str, **columns: Any) -> None:
        """Tell which key a session has."""
        self.db.execute(
            "INSERT OR REPLACE INTO session_nodes (session_key, current_session_id, entry_json) VALUES (?, ?, '{}')",
            (key, session_id),
        )
        names = ["session_id", "session_key", *columns]
        marks = ", ".join("?" * len(names))
        self.db.execute(
            f"INSERT OR REPLACE INTO session_windows ({', '.join(names)}) VALUES ({marks})",
            (session_id, key, *columns.values()),
        )

    def write(self, session_id: str, *events: dict[str, Any], packed: bool = False) -> None:
        """Add events to a session."""
        (last,) = self.db.execute(
            "SELECT ifnull(max(seq), -1) FROM transcript_events WHERE session_id = ?", (session_id,)
        ).fetchone()
        for seq, event in enumerate(events, last + 1):
            text = json.dumps(event)
            blob = zstandard.compress(text.encode()) if packed else None
            self.db.execute(
                "INSERT INTO transcript_events VALUES (?, ?, ?, ?, ?)",
                (session_id, seq, None if packed else text, BEGIN, blob),
            )

    def delete(self, session_id: str) -> None:
        """Delete a session as OpenClaw does: its rows go."""
        for table in ("transcript_events", "session_windows"):
            self.db.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))

    def close(self) -> None:
        """Stop the gateway."""
        self.db.close()


def sessions(root: Path, agent: str = "main") -> Path:
    """The folder of an agent's files, made where there is none."""
    folder = root / "agents" / agent / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def jsonl(*events: dict[str, Any]) -> bytes:
    """Events as a file holds them."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def index(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Write ``sessions.json``."""
    (folder / "sessions.json").write_text(json.dumps(entries))


def calls(reader: StateFolder) -> list[Round]:
    """All calls that a reading gives."""
    return [call for found in reader.read() for call in found.calls]


def once(rounds: Iterable[Round]) -> dict[bytes, Round]:
    """Calls by what they are known by."""
    return {round_.key: round_ for round_ in rounds}


def counts(rounds: Iterable[Round]) -> tuple[int, int, int, int]:
    """How many calls, and their input, output and cached tokens."""
    known: Sequence[Round] = list(rounds)
    return (
        len(known),
        sum(r.usage.input_tokens or 0 for r in known),
        sum(r.usage.output_tokens or 0 for r in known),
        sum(r.usage.cached_tokens or 0 for r in known),
    )


def logged(
    response_id: str | None,
    at: int = BEGIN,
    *,
    session: str | None = None,
    model: str = "kimi-k2.6",
    input_: int | None = 100,
    output: int = 10,
    cached: int = 0,
    status: int = 200,
) -> bytes:
    """The line that a gateway writes of a call, as Higress does without messages; without `input_` it saw no usage."""
    told: dict[str, Any] = {
        "api": "openai/v1/chat/completions",
        "chat_round": 1,
        "chat_id": response_id,
        "model": model,
        "input_token": input_,
        "output_token": output,
        "total_token": (input_ or 0) + output,
        "input_token_details": {"cached_tokens": cached},
        "response_type": "stream",
        "llm_service_duration": 230,
    }
    if session is not None:
        told["session_id"] = session
    told = {name: value for name, value in told.items() if value is not None}
    if status != 200 or input_ is None:
        kept = ("api", "chat_round", "session_id", "response_type", "llm_service_duration")
        told = {name: told[name] for name in kept if name in told}
        told |= dict.fromkeys(("cached_tokens", "reasoning_tokens", "input_token_details", "output_token_details"))
    line = {
        "ai_log": json.dumps(told),
        "start_time": iso(at),
        "request_id": f"request-{response_id}-{at}",
        "response_code": str(status),
        "response_flags": "-",
        "method": "POST",
        "path": "/v1/chat/completions",
        "duration": "240",
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def gateway_log(release: str, affinity: bool = True) -> bytes:
    """What a gateway before the provider wrote of every request of the corpus, with OpenClaw's header or without."""
    cases = truth(release)
    windows: dict[str, str] = {}
    reader = StateFolder(CORPUS / release / ".openclaw")
    for found in reader.read():
        for round_ in found.calls:
            for id_ in round_.session_aliases or (round_.session_id or "",):
                windows.setdefault(round_.response_id or "", id_)
    log = b""
    for case in cases.values():
        ids = [windows[r["response_id"]] for r in case["requests"] if r["response_id"] in windows]
        for request in case["requests"]:
            sent = request["usage_sent"] or {}
            named: str | None = windows.get(request["response_id"], ids[0] if ids else None)
            log += logged(
                request["response_id"],
                int(datetime.fromisoformat(request["time"]).timestamp() * 1000),
                session=f"{named}:0" if affinity and named is not None else None,
                model=request["model"],
                input_=sent.get("prompt_tokens"),
                output=sent.get("completion_tokens", 0),
                cached=(sent.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
                status=request["status"] if sent else (request["status"] or 502),
            )
    return log
