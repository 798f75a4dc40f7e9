"""Lines of the access log: model requests, other requests, and what else gets into it."""

from __future__ import annotations

import json
import random

from monitor.samples.expected import Line
from monitor.samples.messages import answer_text, map_calls, struct_calls, top_system
from monitor.samples.profiles import Mode
from monitor.samples.turns import WELL, Turn
from monitor.samples.usage import usage_of
from monitor.samples.wire import INNER_QUOTE, QUOTE, time_text, uuid_text

#: What the gateway serves besides conversations: method, path, status, flags, route, host, details.
_OTHERS = (
    ("GET", "/", "404", "NR", "-", "-", "route_not_found"),
    ("GET", "/healthz", "200", "-", "health", "health.static", "via_upstream"),
    ("GET", "/v1/models", "200", "-", "ai-route-openai.internal", "llm-openai.internal.dns", "via_upstream"),
    ("POST", "/v1/embeddings", "200", "-", "embeddings", "llm-aliyun.internal.dns", "via_upstream"),
    ("POST", "/v1/messages", "401", "-", "ai-route-claude", "llm-claude.internal.dns", "key-auth.no_key"),
    ("POST", "/shop/orders", "201", "-", "shop", "shop.static", "via_upstream"),
)


def round_line(turn: Turn, mode: Mode, r: random.Random) -> Line:
    """A request with its answer."""
    session = turn.session
    shape = session.model.shape
    phase = turn.outcome[3]
    ended = phase in ("done", "error")
    line = Line(
        b"",
        session_id=session.key,
        conversation=session.conversation,
        host=session.model.host,
        start=turn.start,
        failed=turn.outcome is not WELL,
    )
    counts, inside, outside = (0, 0, 0), "", ""
    if (phase == "done" and turn.metered) or phase == "cut":
        counts, inside, outside, line.used = usage_of(turn)
        line.model = session.model.name
    full, attributes = mode == "full", mode != "bare" and ended
    used = line.used
    # The keys of ai_log in alphabetical order, as they come out of a Go map.
    log: list[str] = []
    put = log.append
    answer = reasoning = calls = "null"
    if full and attributes:
        if phase == "done" and session.spoken:
            answer, reasoning, calls = _said(turn)
        put(f'\\"answer\\":{answer},')
    put('\\"api\\":\\"-\\",')
    if attributes:
        told = used is not None and inside and shape in ("openai", "compact")
        put(f'\\"cached_tokens\\":{used[3] if told and used else "null"},')
    if phase in ("done", "cut"):
        put(f'\\"chat_id\\":\\"{turn.chat_id}\\",')
    put(f'\\"chat_round\\":{session.users},')
    if session.consumer:
        put(f'\\"consumer\\":\\"{session.consumer}\\",')
    if used is not None:
        put(f'\\"input_token\\":{counts[0]},')
    if attributes or used is not None:
        put(f'\\"input_token_details\\":{_details(inside, attributes)},')
    if turn.stream and phase in ("done", "cut"):
        put(f'\\"llm_first_token_duration\\":{turn.first},')
    if ended:
        put(f'\\"llm_service_duration\\":{turn.service},')
    before = ""
    if full:
        put('\\"messages\\":')
        before = "".join(log)
        log.clear()
        put(",")
    if used is not None:
        put(f'\\"model\\":\\"{line.model}\\",\\"output_token\\":{counts[1]},')
    if attributes or used is not None:
        put(f'\\"output_token_details\\":{_details(outside, attributes)},')
    if full:
        put(f'\\"question\\":{session.question},')
    if full and attributes:
        put(f'\\"reasoning\\":{reasoning},')
    if attributes:
        told = used is not None and outside and shape in ("openai", "compact")
        put(f'\\"reasoning_tokens\\":{used[2] if told and used else "null"},')
    if phase != "request":
        kind = "stream" if turn.stream and phase != "error" else "normal"
        put(f'\\"response_type\\":\\"{kind}\\",')
    if session.key is not None:
        put(f'\\"session_id\\":\\"{session.logged_key}\\",')
    if full:
        put(f'\\"system\\":{top_system(session)},')
    if full and attributes:
        put(f'\\"tool_calls\\":{calls},')
    if used is not None:
        put(f'\\"total_token\\":{counts[2]},')
    after = "".join(log)[:-1] + _outer(turn, r)
    if not full:
        line.data = ('{"ai_log":"{' + after).encode()
    elif session.spoken:
        head = ('{"ai_log":"{' + before + "[").encode()
        line.data = b"".join((head, session.history, b"]", after.encode()))
    else:
        line.data = ('{"ai_log":"{' + before + "null" + after).encode()
    return line


def _said(turn: Turn) -> tuple[str, str, str]:
    """Logged answer, reasoning and tool calls."""
    session = turn.session
    assert session.exchange is not None
    claude = session.model.shape == "anthropic"
    answer, reasoning, calls = "null", "null", "null"
    if claude or not turn.call_ids:
        answer = f'\\"{answer_text(turn)}\\"'
    if turn.thinking and session.model.shows_reasoning:
        reasoning = f'\\"{session.exchange.reasoning}\\"'
    if turn.call_ids and turn.stream:
        calls = struct_calls(turn)
    elif turn.call_ids and not claude:
        calls = map_calls(turn)
    return answer, reasoning, calls


def _outer(turn: Turn, r: random.Random) -> str:
    """Everything behind the text of ai_log."""
    session = turn.session
    status, flags, details, phase = turn.outcome
    model = session.model
    some = r.getrandbits(32)
    path = "/v1/chat/completions"
    if model.shape == "anthropic":
        path = "/v1/messages"
    elif model.shape == "gemini":
        verb = "streamGenerateContent?alt=sse" if turn.stream else "generateContent"
        path = f"/v1beta/models/{model.name}:{verb}"
    waited = str(turn.first if turn.stream and phase != "error" else turn.service)
    upstream, local, reason = (
        f"203.0.113.{some & 7 | 16}:443",
        f"192.0.2.2:{32768 + (some >> 8 & 16383)}",
        "-",
    )
    if "UH" in flags:
        upstream = local = waited = "-"
    elif "UF" in flags:
        local, waited, reason = "-", "-", "delayed_connect_error:_111"
    elif "UT" in flags or status == "0":
        waited = "-"
    sent = 0 if status == "0" else 180 if phase != "done" else 400 + turn.output * (90 if turn.stream else 5)
    return (
        f'}}","authority":"gateway.example.com","bytes_received":"{400 + session.context * 4}",'
        f'"bytes_sent":"{sent}","downstream_local_address":"192.0.2.2:8080",'
        f'"downstream_remote_address":"192.0.2.1:{49152 + (some >> 22)}",'
        f'"duration":"{turn.service + 1 + some % 9}",'
        f'"istio_policy_status":"-","method":"POST","path":"{path}","protocol":"HTTP/1.1",'
        f'"request_id":"{uuid_text(r)}","requested_server_name":"-","response_code":"{status}",'
        f'"response_flags":"{flags}","route_name":"{session.route}","start_time":"{time_text(turn.start)}",'
        f'"trace_id":"-","upstream_cluster":"outbound|443||{model.host}","upstream_host":"{upstream}",'
        f'"upstream_local_address":"{local}","upstream_service_time":"{waited}",'
        f'"upstream_transport_failure_reason":"{reason}","user_agent":"{session.client.user_agent}",'
        f'"x_forwarded_for":"198.51.100.{1 + (some >> 4) % 40}","response_code_details":"{details}"}}\n'
    )


def other_line(now: int, r: random.Random) -> Line:
    """A request that is none to a model."""
    method, path, status, flags, route, host, details = r.choice(_OTHERS)
    took = 1 + r.randrange(60)
    served = details == "via_upstream"
    values = {
        "ai_log": "-",
        "authority": "gateway.example.com",
        "bytes_received": "0" if method == "GET" else str(r.randrange(100, 4000)),
        "bytes_sent": str(r.randrange(2000)),
        "downstream_local_address": "192.0.2.2:8080",
        "downstream_remote_address": f"192.0.2.1:{r.randrange(49152, 65536)}",
        "duration": str(took),
        "istio_policy_status": "-",
        "method": method,
        "path": path,
        "protocol": "HTTP/1.1",
        "request_id": uuid_text(r),
        "requested_server_name": "-",
        "response_code": status,
        "response_flags": flags,
        "route_name": route,
        "start_time": time_text(now - took),
        "trace_id": "-",
        "upstream_cluster": "-" if host == "-" else f"outbound|443||{host}",
        "upstream_host": "203.0.113.80:443" if served else "-",
        "upstream_local_address": "192.0.2.2:40112" if served else "-",
        "upstream_service_time": str(took) if served else "-",
        "upstream_transport_failure_reason": "-",
        "user_agent": r.choice(("curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64)", "OpenAI/JS 7.15.0")),
        "x_forwarded_for": "198.51.100.7",
        "response_code_details": details,
    }
    return Line(json.dumps(values, separators=(",", ":")).encode() + b"\n", "non_ai")


def foreign_line(now: int, r: random.Random) -> Line:
    """What else is in a container's log: lines of the pilot agent, of Envoy and of the control plane."""
    at = time_text(now)[:-1]
    text = r.choice(
        (
            f"{at}512Z\tinfo\txdsproxy\tconnected to delta upstream XDS server: 127.0.0.1:15012\tid={now % 90}",
            f"[{at.replace('T', ' ')}][{20 + now % 9}][warning][config] "
            f"[external/envoy/source/extensions/"
            "config_subscription/grpc/grpc_stream.h:152] StreamAggregatedResources gRPC config stream to "
            "xds-grpc closed: 14, upstream connect error",
            f'{{"level":"info","time":"{at}102Z","scope":"ads","msg":"Push debounce stable[{now % 9}]"}}',
        )
    )
    return Line(text.encode() + b"\n", "foreign")


def _details(text: str, attributes: bool) -> str:
    """Details in ``ai_log``: a JSON text in a string or null once the answer is complete, else the object."""
    if attributes:
        return f'\\"{text.replace(chr(34), INNER_QUOTE)}\\"' if text else "null"
    return text.replace('"', QUOTE) or "{}"
