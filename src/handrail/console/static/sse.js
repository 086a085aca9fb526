// Server-sent events out of a fetch body. EventSource can neither POST nor send a key.

/**
 * Yields {id, name, data} for each complete event; an event cut off by the end of the body is dropped, as the
 * standard says, because the server sends it again after a reconnect.
 * @param {Response} response
 * @param {number} silenceMs after which a connection without even a ping counts as lost
 */
export async function* readEvents(response, silenceMs) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let alive = Date.now();
  const watch = setInterval(() => Date.now() - alive > silenceMs && reader.cancel(), 1000);
  let rest = "";
  let event = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive = Date.now();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const complete = takeLine(event, line.endsWith("\r") ? line.slice(0, -1) : line);
        if (!complete) continue;
        if (event.name !== undefined) yield { id: event.id, name: event.name, data: JSON.parse(event.data ?? "{}") };
        event = {};
      }
    }
  } finally {
    clearInterval(watch);
    reader.cancel().catch(() => {});
  }
}

/** Adds one line to the event; true at the empty line that ends it. */
function takeLine(event, line) {
  if (line === "") return true;
  const colon = line.indexOf(":");
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (field === "id") event.id = value;
  else if (field === "event") event.name = value;
  else if (field === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  return false;
}
