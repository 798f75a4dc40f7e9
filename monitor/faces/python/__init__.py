"""The Python interface: record usage from a program, and ask about it."""

from __future__ import annotations
