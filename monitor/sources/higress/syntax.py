"""How a line is written: where ``ai_log`` begins and ends in it, and how its pieces are decoded."""

from __future__ import annotations

import re

import msgspec

HEAD = b'{"ai_log":"'
END = b'","'
#: The same in Higress' own format; a longer sequence is found faster.
USUAL_END = b'}","authority":"'
MESSAGES = b'\\"messages\\":['
#: Names that can be fields of a msgspec struct.
FIELD_NAME = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]{1,200}')
NULL = b"null"

decode_text = msgspec.json.Decoder(str).decode
decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_any = msgspec.json.decode
encode = msgspec.json.encode


def present(raw: msgspec.Raw) -> bytes | None:
    """A value as it was logged; None where it is absent, empty or null."""
    text = bytes(raw)
    return None if text in (b"", NULL) else text
