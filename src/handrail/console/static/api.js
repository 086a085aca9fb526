// The public API as this page uses it, and the events of a turn across lost connections.
import { readEvents } from "./sse.js";

const ENDS = new Set(["turn.completed", "turn.failed", "turn.cancelled", "turn.requires_action"]);
// The server pings every 15 s; three silent pings mean that nobody is there.
const SILENCE_MS = 45_000;
const WAITS_MS = [300, 1000, 2000, 4000, 8000, 15_000, 30_000];
const KEY = "handrail-api-key";

/** What the server refused, or that it did not answer (status 0). */
export class ApiError extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.message ?? "");
    this.status = status;
    this.code = body.code ?? null;
    this.traceId = body.trace_id ?? null;
    this.retryAfter = retryAfter;
  }

  /** Trying the same again may help. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** One honest sentence, and what to do next. */
  get sentence() {
    if (this.status === 0) return "The server does not answer. Check that it is running, then send again.";
    if (this.status === 401) return "The server does not accept this key. Give it another one.";
    if (this.status === 404) return "This conversation is not there, or it is not yours. Begin a new one.";
    if (this.status === 429) return `That was too fast for the server. Send again in ${this.retryAfter ?? "a few"} seconds.`;
    const trace = this.status >= 500 && this.traceId ? ` The server's log has it under trace ${this.traceId}.` : "";
    return `${capitalised(this.message || `The server answered ${this.status}`)}.${trace}`;
  }
}

/** An API key of this tab; gone when the tab closes. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY),
  set: (key) => sessionStorage.setItem(KEY, key),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Calls the API; throws ApiError for everything but a success. */
export async function call(method, path, { body, headers = {}, signal } = {}) {
  const key = apiKey.get();
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      cache: "no-store",
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new ApiError(response.status, answer.error, response.headers.get("retry-after"));
}

export async function callJson(method, path, options) {
  return (await call(method, path, options)).json();
}

/** A key that makes sending the same message again harmless. */
export function newIdempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Sends a message; resolves when the server has it, with the turn's id and the response that streams its events. */
export async function sendMessage(conversationId, message, idempotencyKey) {
  const response = await call("POST", `/v1/conversations/${encodeURIComponent(conversationId)}/turns`, {
    body: { message },
    headers: { accept: "text/event-stream", "idempotency-key": idempotencyKey },
  });
  return { turnId: response.headers.get("x-handrail-turn-id"), response };
}

/**
 * All events of a turn up to its last one. A lost connection is taken up again where it broke off.
 * @param {string | null} turnId null when the first event will tell it
 * @param {Response | null} response the stream that is already open, if any
 * @param {(isConnected: boolean) => void} onConnection
 */
export async function* turnEvents(turnId, response, onConnection = () => {}) {
  let lastId = null;
  let failures = 0;
  for (;;) {
    try {
      response ??= await openEvents(turnId, lastId);
      for await (const event of readEvents(response, SILENCE_MS)) {
        if (failures > 0) onConnection(true);
        failures = 0;
        lastId = event.id ?? lastId;
        turnId ??= event.data.turn_id;
        yield event;
        if (ENDS.has(event.name)) return;
      }
    } catch (error) {
      if (error instanceof ApiError && !error.isPassing) throw error;
    }
    response = null;
    if (turnId === null || failures === WAITS_MS.length) throw new ApiError(0);
    onConnection(false);
    await new Promise((resolve) => setTimeout(resolve, WAITS_MS[failures]));
    failures += 1;
  }
}

function openEvents(turnId, lastId) {
  const headers = { accept: "text/event-stream", ...(lastId ? { "last-event-id": lastId } : {}) };
  return call("GET", `/v1/turns/${encodeURIComponent(turnId)}/events`, { headers });
}

function capitalised(text) {
  return (text.charAt(0).toUpperCase() + text.slice(1)).replace(/\.$/, "");
}
