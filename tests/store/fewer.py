"""Engines on which every step takes milliseconds go through fewer examples of each scenario."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest


def fewer(examples: int) -> Any:
    """A fixture for a class: its scenarios with drawn data take so many examples each."""

    @pytest.fixture(autouse=True)
    def _fewer(self: object, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        function = getattr(request.function, "__func__", request.function)
        given: hypothesis.settings | None = getattr(function, _SETTINGS, None)
        if given is not None:
            monkeypatch.setattr(function, _SETTINGS, hypothesis.settings(given, max_examples=examples, phases=_PHASES))

    return _fewer


#: An example that fails is told as it is: to look for a smaller one would take minutes.
_PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate)
#: Where hypothesis keeps what ``@settings`` said; there is no public way to say it again for another class.
_SETTINGS = "_hypothesis_internal_use_settings"
