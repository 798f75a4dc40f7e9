"""The front door: `python server.py` is `session-monitor serve`."""

import sys

from monitor.faces.cli.main import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
