"""The programs of the test cluster: Debian's ClickHouse and ZooKeeper, unpacked into a folder and not installed.

`apt-get` gets lists and a cache of its own, so nothing of the system changes and nobody has to be root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

_WANTED = ("clickhouse-server", "zookeeper")
#: Java has to be there already: it does not run from a folder of its own without being set up.
_LEFT_OUT = ("default-jre", "openjdk-", "ca-certificates")
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "fleet"


class Unavailable(Exception):
    """The test cluster can't be had here; the message says what to install."""


def unpacked(cache: Path = CACHE) -> Path:
    """The folder that the programs are in; fetched on the first call, some 50 MB. Raises Unavailable."""
    absent = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    if absent:
        raise Unavailable(
            f"the test cluster is made of packages of Debian 12, and there is no {' and no '.join(absent)}"
        )
    if shutil.which("java") is None:
        raise Unavailable(
            "ZooKeeper needs Java: run  sudo apt-get install --no-install-recommends default-jre-headless"
        )
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / "root"
    with FileLock(cache / "lock"):
        if not root.is_dir():
            _fetch(cache, root)
    return root


def _fetch(cache: Path, root: Path) -> None:
    lists, packages, partly = cache / "apt", cache / "packages", cache / "root.partly"
    for folder in (packages, partly):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for folder in (lists / "lists" / "partial", lists / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::Lists={lists / 'lists'}", "-o", f"Dir::Cache={lists / 'cache'}", "-qq"]
    if os.geteuid() == 0:  # apt would fetch as a user that may not write here
        options += ["-o", "APT::Sandbox::User=root"]
    _run(["apt-get", *options, "update"], cache)
    plan = _run(["apt-get", *options, "--simulate", "--no-install-recommends", "install", *_WANTED], cache)
    names = _absent(plan)
    if not set(_WANTED) <= set(names):
        raise Unavailable(
            f"{' and '.join(_WANTED)} are installed here; the tests want to unpack their own: remove them"
        )
    _run(["apt-get", *options, "download", *names], packages)
    for package in sorted(packages.glob("*.deb")):
        _run(["dpkg", "--extract", str(package), str(partly)], packages)
    partly.rename(root)
    shutil.rmtree(packages)


def _absent(plan: str) -> list[str]:
    """The packages that would be installed anew. What would only become newer is good enough as it is."""
    words = [line.split() for line in plan.splitlines() if line.startswith("Inst ")]
    return [word[1] for word in words if not word[2].startswith("[") and not word[1].startswith(_LEFT_OUT)]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-3:]
        raise Unavailable(
            f"`{command[0]} {command[-1]}` failed: {' '.join(said)}. The test cluster needs the packages"
            f" {' and '.join(_WANTED)} of Debian 12 (bookworm) and a way to fetch them"
        )
    return done.stdout
