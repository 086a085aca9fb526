// Thumbs and words under each answer, and the one question about the whole conversation.
import { callJson } from "./api.js";

/**
 * @param {HTMLElement} page holds the forms, those of turns to come among them
 * @param {{conversation: () => string | null, say: (text: string) => void, fail: (error: Error) => void}} chat
 */
export function takeFeedback(page, { conversation, say, fail }) {
  page.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.closest(".feedback")) return;
    event.preventDefault();
    const body = said(form, event.submitter);
    try {
      await callJson("POST", path(conversation()), { body });
      mark(form, body);
      say("Thank you for your feedback");
    } catch (error) {
      fail(error);
    }
  });
}

/** What this conversation's user said before, when the server could not render it because the key is only here. */
export async function showFeedback(page, conversationId) {
  const { data } = await callJson("GET", path(conversationId)).catch(() => ({ data: [] }));
  for (const each of data.filter((one) => one.replaced_at === null)) {
    const turn = page.querySelector(`.turn[data-turn="${CSS.escape(each.turn_id ?? "")}"]`);
    const form = (turn ?? page).querySelector(`form[data-kind="${CSS.escape(each.kind)}"]`);
    if (form && Boolean(turn) === Boolean(each.turn_id)) mark(form, each);
  }
}

/** Asks for a rating once nothing has happened for a while; returns what to call when something does. */
export function askWhenIdle(form) {
  let timer = null;
  const stop = () => {
    clearTimeout(timer);
    if (form && !("given" in form.dataset)) form.hidden = true;
  };
  const start = () => {
    stop();
    if (form) timer = setTimeout(() => (form.hidden = false), Number(form.dataset.idleSeconds) * 1000);
  };
  stop();
  return { start, stop };
}

function said(form, button) {
  const turn = form.closest(".turn")?.dataset.turn;
  const { kind } = form.dataset;
  const words = kind === "text" ? { comment: form.elements.comment.value.trim() } : { score: Number(button.value) };
  return { kind, ...words, ...(turn ? { turn_id: turn } : {}) };
}

function mark(form, { score, comment }) {
  form.dataset.given = "";
  for (const button of form.querySelectorAll('[name="score"]')) {
    button.setAttribute("aria-pressed", String(Number(button.value) === score));
  }
  if (comment && form.elements.comment) {
    form.closest("details").open = false;
    form.elements.comment.value = comment;
  }
  form.closest(".feedback").querySelector('[data-part="thanks"]').hidden = false;
}

function path(conversationId) {
  return `/v1/conversations/${encodeURIComponent(conversationId)}/feedback`;
}
