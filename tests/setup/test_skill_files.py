"""The copy of the skill: kept current, never at the cost of what a user wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from monitor import skillfiles
from monitor.config import ConfigError
from monitor.setup import skill_files
from monitor.setup.files import BACKUP, write
from monitor.setup.skill_files import RECEIPT, SkillChanges

FILES = {
    "SKILL.md": b"---\nname: session-monitor\n---\n",
    "references/fields.md": b"# Fields\n",
    "logo.png": b"\x89PNG\xff",
}


def carry_out(plan: SkillChanges) -> SkillChanges:
    for change in plan.changes:
        write(change)
    skill_files.sweep(plan.folder)
    return plan


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "skills" / "session-monitor"


@pytest.fixture
def copied(folder: Path) -> Path:
    carry_out(skill_files.added(folder, FILES))
    return folder


def test_the_copy_is_whole_and_readable(copied: Path) -> None:
    there = content(copied)
    del there[RECEIPT]
    assert there == FILES
    assert (copied / "SKILL.md").stat().st_mode & 0o777 == 0o644


def test_a_second_time_nothing_is_written(copied: Path) -> None:
    assert skill_files.added(copied, FILES).changes == []


def test_taking_it_away_leaves_nothing(copied: Path) -> None:
    carry_out(skill_files.removed(copied))
    assert not copied.exists()
    assert copied.parent.is_dir()


def test_it_can_be_taken_away_even_when_the_program_has_lost_its_own(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skillfiles, "__file__", str(tmp_path / "monitor" / "skillfiles.py"))
    carry_out(skill_files.removed(copied))
    assert not copied.exists()


def test_a_newer_version_replaces_ours_and_takes_away_what_is_no_more(copied: Path) -> None:
    newer = {"SKILL.md": b"---\nname: session-monitor\n---\nnew\n"}
    plan = carry_out(skill_files.added(copied, newer))
    there = content(copied)
    del there[RECEIPT]
    assert there == newer
    assert not (copied / "references").exists()
    assert "SKILL.md" in {change.path.name for change in plan.changes}
    assert "logo.png" in {change.path.name for change in plan.changes}


def test_an_older_copy_is_recognised_when_it_is_taken_away(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skill_files, "packaged", lambda: {"SKILL.md": b"newer\n"})
    carry_out(skill_files.removed(copied))
    assert not copied.exists()


def test_what_the_user_changed_is_kept_beside_the_new_one(copied: Path) -> None:
    (copied / "SKILL.md").write_text("my own words\n")
    carry_out(skill_files.added(copied, FILES))
    assert (copied / "SKILL.md").read_bytes() == FILES["SKILL.md"]
    assert (copied / f"SKILL.md{BACKUP}").read_text() == "my own words\n"


def test_what_the_user_changed_or_added_is_not_taken_away(copied: Path) -> None:
    (copied / "SKILL.md").write_text("my own words\n")
    (copied / "mine.md").write_text("mine\n")
    plan = carry_out(skill_files.removed(copied))
    assert content(copied) == {"SKILL.md": b"my own words\n", "mine.md": b"mine\n"}
    assert any("SKILL.md was changed since" in note for note in plan.notes)


def test_a_linked_folder_is_left_alone(folder: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    folder.parent.mkdir()
    folder.symlink_to(checkout)
    for plan in (skill_files.added(folder, FILES), skill_files.removed(folder)):
        assert plan.changes == []
        assert any("is a link" in note for note in plan.notes)
    assert os.listdir(checkout) == []


def test_a_receipt_can_not_lead_out_of_the_folder(copied: Path) -> None:
    outside = copied.parent / "other.md"
    outside.write_text("theirs\n")
    digest = skill_files._digest(b"theirs\n")
    (copied / RECEIPT).write_text(json.dumps({"../other.md": digest, str(outside): digest}))
    carry_out(skill_files.removed(copied))
    assert outside.read_text() == "theirs\n"


def test_a_broken_receipt_is_as_none(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skill_files, "packaged", lambda: FILES)
    (copied / RECEIPT).write_text("{not json")
    carry_out(skill_files.removed(copied))
    assert not copied.exists()


def test_an_installation_without_the_skill_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skillfiles, "__file__", str(tmp_path / "monitor" / "skillfiles.py"))
    with pytest.raises(ConfigError, match="install agent-session-monitor again"):
        skill_files.packaged()


def test_the_packaged_skill_is_found_by_relative_names() -> None:
    found = skill_files.packaged()
    assert next(iter(found)) == "SKILL.md"
    assert {"skill/questions.md", "skill/setup.md", "skill/troubleshooting.md"} < set(found)
