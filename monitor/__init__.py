"""What agent conversations behind a Higress gateway cost."""

__version__ = "0.1.0"
