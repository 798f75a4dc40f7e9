"""What programs send: usage records, as JSON or JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from monitor.faces.web.auth import asker, limited_body
from monitor.faces.web.problems import PROBLEMS
from monitor.prices.model_pricing import UsagePrices, shared
from monitor.prices.values import PriceFileError
from monitor.runtime import Runtime
from monitor.sources.usage_log.records import MOST_RECORDS, BadRecord, append_records
from monitor.sources.usage_log.writer import DayFiles

MOST_BYTES = 4 << 20
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_OWNERS_ONLY = "Records are taken from those who may see everything: use a token without a scope."


class UsageRecord(BaseModel):
    """One call of a model. What is left out is unknown; `cost` is worked out from the price lists then."""

    model: str
    function: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    total_tokens: int | None = Field(default=None, ge=0)
    cached_tokens: int | None = Field(default=None, ge=0)
    cache_write_tokens: int | None = Field(default=None, ge=0)
    reasoning_tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    currency: str | None = None
    duration_ms: float | None = Field(default=None, ge=0)
    ttft_ms: float | None = Field(default=None, ge=0)
    success: bool | None = None
    status: int | None = None
    timestamp: float | None = Field(default=None, description="Seconds since 1970; now, where it is left out.")
    id: str | None = Field(default=None, description="Sent again with the same timestamp, it counts once.")
    response_id: str | None = None
    request_id: str | None = None
    consumer: str | None = None
    host: str | None = None


class Written(BaseModel):
    """What was written down."""

    written: int
    ids: list[str]


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        UsageRecord.model_json_schema(),
                        {"type": "array", "items": UsageRecord.model_json_schema(), "maxItems": MOST_RECORDS},
                    ]
                }
            },
            "application/x-ndjson": {"schema": {"type": "string", "description": "One record a line."}},
        },
    }
}


def router(runtime: Runtime, prefix: str, *, described: bool) -> APIRouter:
    """The endpoint that takes records."""
    api = APIRouter(prefix=prefix, tags=["Usage"], responses=PROBLEMS, include_in_schema=described)
    keeper = _Keeper(runtime)

    @api.post("/records", status_code=201, response_model=Written, openapi_extra=_BODY)
    async def records(request: Request) -> Response:
        """Append usage records to the usage log: all of them, or none where one is not right."""
        if not asker(request.scope).is_owner:
            raise HTTPException(403, _OWNERS_ONLY)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and kind not in _LINES:
            # A form of another site can send other kinds without asking.
            raise HTTPException(415, f"Send records as application/json, or as JSON lines: {_LINES[0]}.")
        body = await limited_body(request, MOST_BYTES)
        whole = await anyio.to_thread.run_sync(keeper.keep, _parsed(body, in_lines=kind in _LINES))
        return JSONResponse({"written": len(whole), "ids": [record["id"] for record in whole]}, 201)

    return api


class _Keeper:
    """Writes records where the usage records are that this process follows."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._files: DayFiles | None = None
        overlays = runtime.settings.prices.overlays
        self._prices = UsagePrices(overlays) if overlays else None

    def keep(self, records: list[Any]) -> list[dict[str, Any]]:
        try:
            prices = self._prices or shared()
            return append_records(self._in(self._runtime.usage_folder()), records, prices.of)
        except BadRecord as error:
            raise HTTPException(422, f"{str(error)[:1].upper()}{str(error)[1:]}. Nothing was written.") from None
        except PriceFileError as error:
            raise HTTPException(503, str(error)) from None
        except OSError as error:
            raise HTTPException(503, f"The usage log can't be written: {error.strerror}.") from None

    def _in(self, folder: Path) -> DayFiles:
        files = self._files
        if files is None or files.folder != folder.absolute():
            self._files = files = DayFiles(folder, ZoneInfo(self._runtime.settings.zone))
        return files


def _parsed(body: bytes, *, in_lines: bool) -> list[Any]:
    """The records of a body.

    Raises:
        HTTPException: it is no JSON.
    """
    number = 1
    try:
        if not in_lines:
            whole = msgspec.json.decode(body)
            return whole if isinstance(whole, list) else [whole]
        found = []
        for line in body.split(b"\n"):
            if line.strip():
                found.append(msgspec.json.decode(line))
            number += 1
        return found
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        where = f"Line {number}" if in_lines else "The body"
        raise HTTPException(400, f"{where} is no JSON: {error}. Nothing was written.") from None
