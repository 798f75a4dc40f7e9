"""Sample Higress logs: shaped like real ones, the same for the same seed, with the exact totals in them.

`lines` plays a gateway: several agents talk at once, each request carries the whole conversation so
far, and a line is written when its answer is complete. `Expected` counts along, so that what a
reader finds can be compared with what was put in. `Writer` puts lines into a file as Envoy does.
"""

from __future__ import annotations

from monitor.samples.expected import Expected, Totals
from monitor.samples.gateway import lines
from monitor.samples.profiles import (
    BARE,
    DEMO,
    LITE,
    LONG,
    MEDIUM,
    MODELS,
    PROFILES,
    SHORT,
    Client,
    Model,
    Profile,
)
from monitor.samples.writer import Writer

__all__ = [
    "BARE",
    "DEMO",
    "LITE",
    "LONG",
    "MEDIUM",
    "MODELS",
    "PROFILES",
    "SHORT",
    "Client",
    "Expected",
    "Model",
    "Profile",
    "Totals",
    "Writer",
    "lines",
]
