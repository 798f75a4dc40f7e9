"""`python -m monitor.faces.cli` is `session-monitor`, where no console script is installed."""

from monitor.faces.cli.main import main

main()
