"""Which OpenClaw is installed: told by its package, wherever npm and others put it, else by its configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.setup import openclaw_release
from monitor.setup.machine import Machine
from monitor.setup.openclaw_release import Release


def machine(home: Path) -> Machine:
    return Machine("linux", home, {"PATH": str(home / "bin")})


def package(folder: Path, version: object, name: str = "openclaw") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))
    program = folder / "openclaw.mjs"
    program.write_text("#!/usr/bin/env node\n")
    program.chmod(0o755)
    return program


def command(home: Path) -> Path:
    (home / "bin").mkdir(exist_ok=True)
    return home / "bin" / "openclaw"


def test_the_command_leads_to_its_package(tmp_path: Path) -> None:
    program = package(tmp_path / "lib" / "node_modules" / "openclaw", "2026.9.6")
    command(tmp_path).symlink_to(program)
    assert openclaw_release.installed(machine(tmp_path), {"meta": {"lastTouchedVersion": "2026.7.1"}}) == (2026, 9, 6)


@pytest.mark.parametrize("place", ["bin/node_modules/openclaw", "lib/node_modules/openclaw"])
def test_a_script_that_only_starts_it_lies_near_the_package(tmp_path: Path, place: str) -> None:
    package(tmp_path / place, "2026.9.4-beta.2")
    script = command(tmp_path)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert openclaw_release.installed(machine(tmp_path), None) == (2026, 9, 4)


def test_another_program_of_that_name_tells_nothing(tmp_path: Path) -> None:
    command(tmp_path).symlink_to(package(tmp_path / "openclaw", "1.2.3", name="game"))
    assert openclaw_release.installed(machine(tmp_path), {}) is None


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"meta": {"lastTouchedVersion": "2026.7.1"}}, (2026, 7, 1)),
        ({"meta": {"lastTouchedVersion": "latest"}}, None),
        ({"meta": {"lastTouchedVersion": 2026}}, None),
        ({"meta": []}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_else_the_configuration_tells_who_wrote_it(tmp_path: Path, config: object, wanted: Release | None) -> None:
    assert openclaw_release.installed(machine(tmp_path), config) == wanted
