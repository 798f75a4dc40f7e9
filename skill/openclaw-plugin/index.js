/**
 * Sends the key of the session with each model request, in the header that Higress' ai-statistics plugin looks for by
 * itself. It reads no conversation: OpenClaw says which session a call belongs to, and nothing else is asked for.
 */

const HEADER = "x-openclaw-session-key";

/** From this release on OpenClaw asks for headers with each request. Before, a call has to be wrapped to add one. */
const ASKS_FOR_HEADERS = [2026, 9, 4];

/** Protocols whose requests get the headers that OpenClaw asks for. */
const ASKED = new Set(["openai-completions", "openai-responses"]);

/** Sessions that are remembered; the one that was unused for the longest goes first. */
const REMEMBERED = 10_000;

/** How often a call waits for the turn of the event loop in which OpenClaw says whose it is. */
const PATIENCE = 3;

/** Session ids and the keys that OpenClaw gave with them. It can load this file's plugin several times in a process. */
const keys = new Map();

function remember(event, context) {
  const key = context?.sessionKey ?? event?.sessionKey;
  const id = context?.sessionId ?? event?.sessionId;
  if (typeof key !== "string" || typeof id !== "string" || !key || !id) return;
  keys.delete(id);
  keys.set(id, key);
  if (keys.size > REMEMBERED) keys.delete(keys.keys().next().value);
}

/** The id without what OpenClaw appends to it when a conversation was reset or compacted. */
function bare(id) {
  return typeof id === "string" ? id.replace(/:\d+$/, "") : undefined;
}

/** The header for a session id: its key, or the id itself while the key is unknown or is no text for a header. */
function headers(sessionId) {
  const name = [keys.get(sessionId), keys.get(bare(sessionId)), bare(sessionId)].find(
    (text) => typeof text === "string" && /^[\x21-\x7e]+$/.test(text),
  );
  return name === undefined ? {} : { [HEADER]: name };
}

function asksForHeaders(version) {
  const found = /^(\d+)\.(\d+)\.(\d+)/.exec(version ?? "");
  if (!found) return false;
  const parts = found.slice(1).map(Number);
  const first = parts.findIndex((part, place) => part !== ASKS_FOR_HEADERS[place]);
  return first < 0 || parts[first] > ASKS_FOR_HEADERS[first];
}

function withHeader(stream) {
  return async (model, context, options) => {
    for (let turn = 0; turn < PATIENCE && !keys.has(bare(options?.sessionId)); turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    return stream(model, context, { ...options, headers: { ...options?.headers, ...headers(options?.sessionId) } });
  };
}

export default {
  id: "session-monitor",
  name: "Session names for the gateway",
  description: "Sends the session key with each model request, so that the gateway's log can tell sessions apart.",

  register(api) {
    for (const hook of ["before_agent_start", "session_start", "model_call_started"]) api.on(hook, remember);
    const asks = asksForHeaders(api.runtime?.version);
    api.registerProvider({
      id: "session-monitor",
      label: "Session names for the gateway",
      auth: [],
      hookAliases: api.pluginConfig?.providers ?? [],
      resolveTransportTurnState: (context) => ({ headers: headers(context.sessionId) }),
      wrapStreamFn: (context) =>
        context.streamFn && !(asks && ASKED.has(context.model?.api ?? "openai-completions"))
          ? withHeader(context.streamFn)
          : undefined,
    });
  },
};
