"""Our plugin in a real OpenClaw: each request carries the session key, and Higress needs no setting for that."""

from __future__ import annotations

from pathlib import Path

from tests.openclaw_real.provider import SPEND, Provider
from tests.openclaw_real.real import OpenClaw
from tests.openclaw_real.test_spend import check, told

KEY = "agent:main:discord:channel:123"


def test_the_plugin_sends_the_key_with_a_compaction_too_and_the_agent_finds_its_spend_by_it(tmp_path: Path) -> None:
    with Provider(tmp_path / "access.log") as provider:
        openclaw = OpenClaw(tmp_path, provider, name="our-gateway")
        before = openclaw.config.read_bytes()
        words = ("--client", "openclaw", "--naming", "plugin", "--provider", "our-gateway")
        openclaw.monitor("skill", "install", "--yes", *words)
        with openclaw.running():
            answer = told(openclaw.turn(KEY, SPEND))
            openclaw.call("sessions.compact", key=KEY)
        sent = list(provider.sent)
        assert [one.tools for one in sent] == [True, True, False]
        assert [one.headers.get("x-openclaw-session-key") for one in sent] == [KEY] * 3
        assert [one.session_id for one in sent] == [KEY] * 3
        assert not any("x-session-affinity" in one.headers for one in sent)
        check(answer, KEY, sent[:1])
        assert answer["session_source"] == "header"
        assert provider.outside == []
        openclaw.monitor("skill", "uninstall", "--yes")
        assert openclaw.config.read_bytes() == before
        assert not (openclaw.state / "extensions" / "session-monitor").exists()
