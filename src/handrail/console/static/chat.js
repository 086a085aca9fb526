// The chat page. It talks to the public API like any other client; without it the page is a plain form.
import { ApiError, apiKey, call, callJson, newIdempotencyKey, sendMessage, turnEvents } from "./api.js";
import { askWhenIdle, showFeedback, takeFeedback } from "./feedback.js";
import { TurnView, clone, part } from "./turn_view.js";

const DRAFT = "handrail-draft";
// How often a turn that waits for a person is looked at: soon at first, then less.
const WATCH_MS = { first: 1500, most: 10_000, growth: 1.15 };
// Details of this many turns are fetched again after a reload; older ones stay text.
const MOST_DETAILED = 20;

const page = document.getElementById("content");
const byId = (id) => document.getElementById(id);
const transcript = byId("transcript");
const composer = byId("composer");
const message = byId("message");
const titles = JSON.parse(page.dataset.titles || "{}");

let conversationId = page.dataset.conversation || null;
let running = null;
let unsent = null;

takeFeedback(page, { conversation: () => conversationId, say, fail });
const rating = askWhenIdle(byId("csat"));

// Sending

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const isReply = event.submitter?.name === "message";
  send(isReply ? event.submitter.value : message.value, isReply);
});

message.addEventListener("keydown", (event) => {
  const isTouch = matchMedia("(pointer: coarse)").matches;
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch) return;
  event.preventDefault();
  if (message.value.trim()) composer.requestSubmit();
});

message.addEventListener("input", () => sessionStorage.setItem(DRAFT, message.value));

byId("stop").addEventListener("click", async () => {
  const turnId = running?.element.dataset.turn;
  if (!turnId) return;
  byId("stop").disabled = true;
  try {
    await call("POST", `/v1/turns/${encodeURIComponent(turnId)}/cancel`);
  } catch (error) {
    // Over already: its last event is on the way.
    if (error.code !== "turn_over") fail(error);
  }
});

/** A message leaves the composer only once the server has it. */
async function send(text, isReply = false) {
  if (running || !text.trim()) return;
  const view = TurnView.fromTemplate(text);
  begin(view);
  try {
    const { turnId, response } = await deliver(text);
    if (turnId) view.element.dataset.turn = turnId;
    if (message.value === text) empty();
    byId("stop").disabled = !turnId;
    await follow(view, turnId, response);
  } catch (error) {
    if (view.element.dataset.turn) lose(view, error);
    else {
      view.element.remove();
      if (isReply && !message.value) message.value = text;
      fail(error);
    }
  } finally {
    finish();
  }
}

/** The same text after a failure goes out under the same key, so it can't arrive twice. */
async function deliver(text) {
  conversationId ??= await createConversation();
  if (unsent?.text !== text || unsent.conversationId !== conversationId) {
    unsent = { text, conversationId, key: newIdempotencyKey() };
  }
  const delivered = await sendMessage(conversationId, text, unsent.key);
  unsent = null;
  return delivered;
}

async function createConversation() {
  const body = page.dataset.agent ? { agent: page.dataset.agent } : {};
  const conversation = await callJson("POST", "/v1/conversations", { body });
  history.replaceState(null, "", `?conversation=${encodeURIComponent(conversation.id)}`);
  composer.elements.conversation.value = conversation.id;
  return conversation.id;
}

async function follow(view, turnId, response) {
  for await (const event of turnEvents(turnId, response, showConnection)) {
    keepInView(() => view.apply(event));
  }
}

function begin(view) {
  rating.stop();
  running = view;
  clearError();
  byId("greeting").hidden = true;
  offer([]);
  if (!view.element.isConnected) transcript.append(view.element);
  busy(true);
  say("Answering");
  toEnd();
}

function finish() {
  const view = running;
  running = null;
  busy(false);
  if (!view?.element.isConnected) return;
  if (view.isRunning) return;
  say(view.status === "completed" ? "The answer is complete" : view.waits ? "A person has to approve this" : "The turn has ended");
  if (view.waits) watch(view);
  else rating.start();
  offerReplies(view);
  listConversations();
}

function busy(isBusy) {
  page.toggleAttribute("data-busy", isBusy);
  byId("send").hidden = isBusy;
  byId("stop").hidden = !isBusy;
  byId("stop").disabled = !running?.element.dataset.turn;
  // On a phone the keyboard would cover the answer.
  const isTouch = matchMedia("(pointer: coarse)").matches;
  if (!isBusy && !isTouch && byId("key-form").hidden) message.focus({ preventScroll: true });
}

function empty() {
  message.value = "";
  sessionStorage.removeItem(DRAFT);
}

// What the agent waits for

async function offerReplies(view) {
  const { action, choices = [] } = view.route ?? {};
  if (view.status === "failed") return offer([view.said], "Send again: ");
  if (action === "confirm") return offer(["Yes", "No"]);
  if (action === "clarify") return offer(choices.map((choice) => titles[choice] ?? humanised(choice)));
  if (await asksYesOrNo(view)) offer(["Yes", "No"]);
}

/** A flow may ask too; only the conversation knows. Asked for only when the answer reads like a question. */
async function asksYesOrNo(view) {
  if (view.awaiting) return view.awaiting === "flow_confirm";
  if (!view.text.textContent.includes("?")) return false;
  const conversation = await callJson("GET", `/v1/conversations/${encodeURIComponent(conversationId)}`).catch(() => null);
  return !running && conversation?.awaiting === "flow_confirm";
}

function offer(replies, before = "") {
  const buttons = replies.map((text) => {
    const button = clone("reply-template");
    button.value = text;
    button.textContent = before + (text.length > 60 ? `${text.slice(0, 59)}…` : text);
    return button;
  });
  keepInView(() => {
    byId("replies").replaceChildren(...buttons);
    byId("replies").hidden = buttons.length === 0;
  });
}

function humanised(name) {
  const words = name.replaceAll(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

// What waits for a person

/** Follows a parked turn until it is over; the conversation may go on meanwhile. */
async function watch(view) {
  if (view.isWatched) return;
  view.isWatched = true;
  try {
    for (let pause = WATCH_MS.first; view.waits && view.element.isConnected; pause = Math.min(pause * WATCH_MS.growth, WATCH_MS.most)) {
      if (await look(view)) pause = WATCH_MS.first;
      if (view.waits) await new Promise((resolve) => setTimeout(resolve, pause));
    }
  } finally {
    view.isWatched = false;
  }
}

/** One look; true when the turn has gone on. A server that does not answer is asked again later. */
async function look(view) {
  const path = `/v1/turns/${encodeURIComponent(view.element.dataset.turn)}`;
  try {
    const turn = await callJson("GET", path);
    if (turn.status === "requires_action") {
      const { data } = await callJson("GET", `${path}/approvals`);
      keepInView(() => view.showWaiting(data));
      return false;
    }
    view.resume();
    for await (const event of turnEvents(view.element.dataset.turn, null)) keepInView(() => view.apply(event));
    if (!view.waits) say(`What waited for a person is decided. ${view.text.textContent}`);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (!error.isPassing) view.status = "unreadable";
    else if (view.isRunning) view.status = view.answer.dataset.status = "requires_action";
    return false;
  }
}

transcript.addEventListener("submit", async (event) => {
  const item = event.target.closest("[data-question]");
  if (!item) return;
  event.preventDefault();
  const { turn, question, answer } = event.target.elements;
  try {
    const body = { question_id: question.value, answer: answer.value };
    const view = [...transcript.children].find((each) => each.dataset.turn === turn.value);
    const answered = await callJson("POST", `/v1/turns/${encodeURIComponent(turn.value)}/answers`, { body });
    new TurnView(view).showQuestion(answered);
    say("Your answer went to the person who decides");
  } catch (error) {
    fail(error);
  }
});

// Coming back

async function restore() {
  if (!conversationId) return;
  try {
    if (!("rendered" in page.dataset)) {
      await showConversation();
      await showFeedback(page, conversationId);
    }
    const views = [...transcript.querySelectorAll(".turn[data-turn]")].map((each) => new TurnView(each));
    const last = views.at(-1);
    if (last && "open" in last.element.dataset) await resume(last);
    for (const view of views) if (view.waits) watch(view);
    for (const view of views.slice(-MOST_DETAILED).reverse()) await addDetails(view);
    if (last && !running) offerReplies(last);
    if (last && !running && !last.waits) rating.start();
  } catch (error) {
    fail(error);
  }
}

/** The transcript, when the server could not render it because the key is only here. */
async function showConversation() {
  const conversation = await callJson("GET", `/v1/conversations/${encodeURIComponent(conversationId)}`);
  const turns = new Map();
  for (const each of conversation.messages) {
    if (each.role === "user" && !turns.has(each.turn_id)) {
      const view = TurnView.fromTemplate(each.content);
      view.element.dataset.turn = each.turn_id;
      view.element.dataset.open = "";
      turns.set(each.turn_id, view);
    } else if (each.role === "assistant" && !each.tool_calls.length && turns.has(each.turn_id)) {
      const view = turns.get(each.turn_id);
      delete view.element.dataset.open;
      view.answer.dataset.status = "completed";
      view.apply({ name: "message.completed", data: each });
    }
  }
  byId("greeting").hidden = turns.size > 0;
  transcript.append(...Array.from(turns.values(), (view) => view.element));
  toEnd();
}

/** The page was left while the answer was on its way. */
async function resume(view) {
  delete view.element.dataset.open;
  begin(view);
  try {
    await follow(view, view.element.dataset.turn, null);
  } catch (error) {
    lose(view, error);
  } finally {
    finish();
  }
}

async function addDetails(view) {
  if (view.route || view.isWatched) return;
  for await (const event of turnEvents(view.element.dataset.turn, null)) keepInView(() => view.apply(event));
  if (view.waits) watch(view);
}

// Earlier conversations

async function listConversations() {
  const list = byId("conversations");
  try {
    const { data } = await callJson("GET", "/v1/conversations?limit=30");
    list.replaceChildren(...data.map(conversationLink));
    byId("no-conversations").hidden = data.length > 0;
  } catch (error) {
    if (error.status === 401) askForKey();
  }
}

function conversationLink(conversation) {
  const item = clone("conversation-template");
  const link = item.querySelector("a");
  link.href = `/console/chat?conversation=${encodeURIComponent(conversation.id)}`;
  if (conversation.id === conversationId) link.setAttribute("aria-current", "page");
  part(item, "title").textContent = conversation.title ?? "";
  part(item, "time").dateTime = conversation.created_at;
  localTime(part(item, "time"));
  return item;
}

function localTime(element) {
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const isToday = at.toDateString() === new Date().toDateString();
  const day = isToday ? "Today" : at.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
  element.textContent = `${day}, ${at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })}`;
}

// The API key

function askForKey() {
  byId("key-form").hidden = false;
  byId("forget-key").hidden = true;
  byId("key").focus();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(byId("key").value.trim());
  byId("key").value = "";
  byId("key-form").hidden = true;
  byId("forget-key").hidden = false;
  clearError();
  listConversations();
  restore();
  message.focus();
});

byId("forget-key").addEventListener("click", () => {
  apiKey.forget();
  location.assign("/console/chat");
});

// Telling

function fail(error) {
  if (!(error instanceof ApiError)) throw error;
  const sentence = document.createElement("p");
  const needsKey = error.status === 401;
  const hadKey = Boolean(apiKey.get());
  sentence.textContent = needsKey && !hadKey ? "This server asks for an API key. Your message is still here." : error.sentence;
  byId("error").replaceChildren(sentence);
  byId("error").hidden = false;
  if (needsKey) {
    apiKey.forget();
    askForKey();
  }
  toEnd();
}

/** The server has the message, but its answer can't be followed any more. */
function lose(view, error) {
  fail(error);
  if (error.status !== 0) return;
  view.note("");
  byId("error").firstChild.textContent = "The server does not answer. Your message is stored, and its answer will be too.";
  const again = document.createElement("button");
  again.type = "button";
  again.className = "button";
  again.textContent = "Connect again";
  again.addEventListener("click", () => resume(view));
  byId("error").append(again);
}

function clearError() {
  byId("error").hidden = true;
  byId("error").replaceChildren();
}

function showConnection(isConnected) {
  if (!running) return;
  running.note(isConnected ? "" : "The connection was lost. Reconnecting; nothing is lost.");
  say(isConnected ? "Connected again" : "The connection was lost. Reconnecting.");
}

function say(text) {
  byId("status").textContent = text;
}

/** Keeps the end of the page in view if it was in view before the change. */
function keepInView(change) {
  const wasAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
  change();
  if (wasAtEnd) toEnd();
}

function toEnd() {
  scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

// Begin

if (!message.value) message.value = sessionStorage.getItem(DRAFT) ?? "";
document.querySelectorAll("time[datetime]").forEach(localTime);
byId("forget-key").hidden = !apiKey.get();
if ("needsKey" in page.dataset && !apiKey.get()) {
  askForKey();
} else {
  if (!("rendered" in byId("conversations").dataset)) listConversations();
  restore();
}
if (conversationId) toEnd();
