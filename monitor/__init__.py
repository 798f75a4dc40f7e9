"""What agent conversations behind a Higress gateway cost.

Programs without a gateway record their calls with `get_usage_monitor`; see docs/usage-records.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ModelPricing", "UsageMonitor", "__version__", "get_usage_monitor"]

if TYPE_CHECKING:
    from monitor.faces.python.usage_monitor import UsageMonitor, get_usage_monitor
    from monitor.prices.model_pricing import ModelPricing

_WHERE = {
    "ModelPricing": "monitor.prices.model_pricing",
    "UsageMonitor": "monitor.faces.python.usage_monitor",
    "get_usage_monitor": "monitor.faces.python.usage_monitor",
}


def __getattr__(name: str) -> Any:
    """What belongs to the Python interface is imported when it is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - commands and servers start without it

    return getattr(import_module(_WHERE[name]), name)
