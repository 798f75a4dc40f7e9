"""What the tests need from the system: installed where we may, else named with the command that does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

#: Program -> Debian packages. The pages are looked at in a browser, in Chinese as well.
NEEDED = {"logrotate": ("logrotate",), "systemd-analyze": ("systemd",), "chromium": ("chromium", "fonts-noto-cjk")}


def missing() -> list[str]:
    """Packages of the programs that are not there."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    absent = [packages for program, packages in NEEDED.items() if shutil.which(program, path=path) is None]
    return [package for packages in absent for package in packages]


def main() -> int:
    """Install what is missing as root; otherwise say how."""
    packages = missing()
    if not packages:
        return 0
    command = f"apt-get install {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"the tests need {', '.join(packages)}: run  sudo {command}", file=sys.stderr)
        return 2
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=True, env=environment
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
