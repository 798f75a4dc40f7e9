"""Why a question has no answer, in words for whoever asked."""

from __future__ import annotations


class NotFound(LookupError):
    """There is no such thing; the message says what is near and what to ask next."""


class BadQuestion(ValueError):
    """The question can't be understood; the message says how to ask it."""
