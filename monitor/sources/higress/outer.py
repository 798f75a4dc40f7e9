"""The outer line: the fields around ``ai_log``, whatever a header pretends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from monitor.sources.higress.syntax import FIELD_NAME, HEAD, decode_text

#: Outer fields of Higress' default format that nothing here needs: sizes, addresses, names of sockets.
_DROPPED = frozenset(
    ("ai_log", "authority", "bytes_received", "bytes_sent", "downstream_local_address", "downstream_remote_address")
    + ("istio_policy_status", "protocol", "requested_server_name", "upstream_local_address")
    + ("upstream_service_time", "upstream_transport_failure_reason", "user_agent", "x_forwarded_for", "cluster_id")
)
#: The order in which Higress' template writes its fields (helm/core/templates/configmap.yaml).
_TEMPLATE = (
    ("ai_log", "authority", "bytes_received", "bytes_sent", "downstream_local_address")
    + ("downstream_remote_address", "duration", "istio_policy_status", "method", "path", "protocol")
    + ("request_id", "requested_server_name", "response_code", "response_flags", "route_name", "start_time")
    + ("trace_id", "upstream_cluster", "upstream_host", "upstream_local_address", "upstream_service_time")
    + ("upstream_transport_failure_reason", "user_agent", "x_forwarded_for", "response_code_details")
)
_SHAPES_LIMIT = 8


class Outer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The fields of the outer line that are used, as they stand there: mostly strings, but nothing is certain."""

    duration: Any = None
    method: Any = None
    path: Any = None
    request_id: Any = None
    response_code: Any = None
    response_code_details: Any = None
    response_flags: Any = None
    route_name: Any = None
    start_time: Any = None
    time: Any = None
    timestamp: Any = None
    trace_id: Any = None
    upstream_cluster: Any = None
    upstream_host: Any = None


_USED = frozenset(Outer.__struct_fields__)


class Around(msgspec.Struct, frozen=True, gc=False):
    """What stands around ``ai_log``: the fields that are used and those that are new to us."""

    line: Outer
    others: Mapping[str, Any]
    #: All fields, where a collector wrote the record anew.
    collected: Mapping[str, Any] | None = None


class OuterLines:
    """Reads what is behind ``ai_log``. It only remembers shapes of lines in order to be faster."""

    def __init__(self) -> None:
        self._shapes: list[_OuterShape] = []

    def around(self, record: bytes, end: int) -> Around:
        """What stands behind the ``ai_log`` that ends at `end`."""
        rest = b"{" + record[end + 2 :]
        return self._fast(rest) or self._slow(rest, record, end)

    def _fast(self, rest: bytes) -> Around | None:
        """The fields behind ``ai_log`` where they are exactly a known set of plain strings, else None.

        With n fields known to be there and 4n quotes, no field can stand twice and nothing can be
        smuggled in between.
        """
        if b"\\" in rest:
            return None
        quotes = rest.count(b'"')
        for shape in self._shapes:
            if shape.quotes == quotes:
                try:
                    return shape.decode(rest)
                except ValueError:  # other names, or bytes that are not UTF-8
                    continue
        return None

    def _slow(self, rest: bytes, record: bytes, end: int) -> Around:
        try:
            pairs = pairs_of(rest)
        except ValueError:
            return around_of(_salvaged(rest))
        pairs.items.insert(0, ("ai_log", ""))
        outer = pairs.resolved()
        if any(name.startswith("__") for name in outer):
            outer["ai_log"] = decode_text(record[len(HEAD) - 1 : end + 1])
        around = around_of(outer)
        if (
            around.collected is None
            and len(outer) == len(pairs.items)
            and b"\\" not in rest
            and all(type(value) is str and FIELD_NAME.fullmatch(name) for name, value in outer.items())
        ):
            names = tuple(outer)[1:]
            self._shapes = [shape for shape in self._shapes if shape.names != names]
            # A client can make up as many shapes as it likes; the latest ones are tried first.
            self._shapes.insert(0, _OuterShape(names))
            del self._shapes[_SHAPES_LIMIT:]
        return around


class _OuterShape:
    """A decoder for lines with exactly these fields, all strings."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.quotes = 4 * len(names)
        fields = [
            (name if name in _USED else f"f{index}", str, msgspec.field(name=name)) for index, name in enumerate(names)
        ]
        shape = msgspec.defstruct(
            "OuterLine", fields, bases=(Outer,), kw_only=True, forbid_unknown_fields=True, gc=False
        )
        self._decode: Callable[[bytes], Outer] = msgspec.json.Decoder(shape).decode  # type: ignore[assignment]
        self._others = [
            (name, f"f{index}") for index, name in enumerate(names) if name not in _USED and name not in _DROPPED
        ]

    def decode(self, rest: bytes) -> Around:
        line = self._decode(rest)
        return Around(line, {name: getattr(line, field) for name, field in self._others} if self._others else {})


def pairs_of(text: bytes) -> Pairs:
    """A JSON object with its pairs in order. Raw control characters are let pass: headers may hold a tab."""
    # Header values may also hold any byte from 0x80 up.
    value = json.loads(
        text.decode("utf-8", "replace"), object_pairs_hook=Pairs, parse_constant=_no_number, strict=False
    )
    if not isinstance(value, Pairs):
        raise ValueError("not an object")
    return value


def _no_number(_: str) -> None:
    """NaN and the infinities are not JSON, but Python reads them."""


def _clean(value: Any) -> Any:
    """The value without lone surrogates, which can be neither stored nor shown."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value.resolved() if isinstance(value, Pairs) else value


def _salvaged(rest: bytes) -> dict[str, Any]:
    """The fields of a line whose header values broke it, found by their names in the template's order.

    A quote in a header must not hide a call that was paid for. Values are taken up to the next
    field, literally, since nothing in them was escaped.
    """
    found: dict[str, Any] = {}
    at = 0
    for name in _TEMPLATE[1:]:
        begin = rest.find(b'"%s":"' % name.encode(), at)
        if begin < 0:
            continue
        begin += len(name) + 4
        at = rest.find(b'","', begin)
        if at < 0:
            at = rest.rfind(b'"', begin)
            if at < 0:
                break
        found[name] = rest[begin:at].decode("utf-8", "replace")
    if not rest.endswith(b'"}') or not {"response_code", "start_time"} <= found.keys():
        raise ValueError("damaged, not only by headers")
    return found


def around_of(outer: Mapping[str, Any]) -> Around:
    line = Outer(**{name: value for name, value in outer.items() if name in _USED})
    others = {
        name: value
        for name, value in outer.items()
        if name not in _USED and name not in _DROPPED and not name.startswith("__")
    }
    return Around(line, others, outer if any(name.startswith("__") for name in outer) else None)


class Pairs:
    """The pairs of a JSON object in their order, repeated names included."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = [(_clean(name), _clean(value)) for name, value in items]

    def resolved(self) -> dict[str, Any]:
        """One value a name. Where names repeat, those that stand in the template's order are the real ones."""
        plain = dict(self.items)
        if len(plain) == len(self.items):
            return plain
        real: dict[str, Any] = {}
        place = 0
        for name, value in self.items:
            if name in _TEMPLATE[place:]:
                place = _TEMPLATE.index(name) + 1
                real[name] = value
            elif name not in _TEMPLATE:
                real.setdefault(name, value)
        for name, value in self.items:  # another order of the fields
            real.setdefault(name, value)
        return real
