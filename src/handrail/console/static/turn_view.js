// One turn on the page: applies the turn's events to markup cloned from the page's own templates.
// Text of users and models only ever becomes text nodes.

const TOOL_WORDS = { running: "running", intent: "outcome not known", unknown: "outcome not known" };
const ACTIONS = {
  execute: "Acted on it",
  confirm: "Asked to confirm",
  clarify: "Asked which one was meant",
  handoff: "Handed over to a person",
  continue: "Went on with the flow",
  declined: "Left it at the user's no",
};

export class TurnView {
  /** @param {HTMLLIElement} element a `.turn`, from the template or rendered by the server */
  constructor(element) {
    this.element = element;
    this.answer = element.querySelector(".answer");
    this.text = part(this.answer, "text");
    this.route = null;
    this.status = this.answer.dataset.status;
    this.awaiting = null;
  }

  static fromTemplate(said) {
    const view = new TurnView(clone("turn-template"));
    part(view.element, "said").textContent = said;
    view.status = view.answer.dataset.status = "running";
    return view;
  }

  get said() {
    return part(this.element, "said").textContent;
  }

  get waits() {
    return this.status === "requires_action";
  }

  get isRunning() {
    return this.status === "running";
  }

  /** @param {{name: string, data: any}} event */
  apply({ name, data }) {
    switch (name) {
      case "turn.queued":
        return this.note("Waiting for the turn before this one.");
      case "turn.started":
        this.element.dataset.turn = data.turn_id;
        return this.note("");
      case "route.decided":
        return this.showRoute(data);
      case "message.started":
        return this.setText("");
      case "message.delta":
        return this.addText(data.text);
      case "message.restarted":
        return this.setText(data.text);
      case "message.completed":
        this.setText(data.content);
        return this.showSources(unnamed(data.sources ?? [], data.content));
      case "tool.started":
        return this.showTool(data.id, { name: data.name, arguments: data.arguments, status: "running" });
      case "tool.completed":
        return this.showTool(data.id, { name: data.name, status: data.status });
      default:
        return name.startsWith("turn.") ? this.end(name.slice("turn.".length), data) : undefined;
    }
  }

  end(status, turn) {
    this.status = this.answer.dataset.status = status;
    this.awaiting = turn.awaiting ?? null;
    if (turn.route) this.showRoute(turn.route);
    this.showFacts(turn);
    if (status === "requires_action") this.note("Waiting for a person. The outcome follows here by itself.");
    else if (status === "cancelled") this.note("Stopped.");
    else if (status === "failed") this.note(failure(turn.error));
    else this.note("");
    for (const tool of this.answer.querySelectorAll('.tool[data-status="running"]')) {
      setTool(tool, { status: "unknown" });
    }
  }

  /** The turn goes on, or begins again: what was shown of its waiting is over. */
  resume() {
    this.status = this.answer.dataset.status = "running";
    this.note("");
    part(this.answer, "questions").hidden = true;
  }

  /**
   * What waits for a person, and what that person asks. What the user has typed meanwhile stays.
   * @param {Array<any>} approvals as `GET /v1/turns/{id}/approvals` lists them
   */
  showWaiting(approvals) {
    const pending = approvals.filter((each) => each.status === "pending");
    if (pending.length === 0) return;
    const until = pending.map((each) => each.expires_at).sort()[0];
    this.note(`Waiting for a person until ${clockTime(until)}. The outcome follows here by itself.`);
    const questions = pending.flatMap((each) => each.questions);
    for (const each of questions) this.showQuestion(each);
  }

  showQuestion(question) {
    const list = part(this.answer, "questions");
    let item = [...list.children].find((each) => each.dataset.question === question.id);
    if (!item) {
      item = clone("question-template");
      item.dataset.question = question.id;
      item.querySelector('[name="turn"]').value = this.element.dataset.turn;
      item.querySelector('[name="question"]').value = question.id;
      part(item, "asked").textContent = question.question;
      list.append(item);
      list.hidden = false;
    }
    if (question.answer === null) return;
    item.querySelector("form").hidden = true;
    part(item, "answer").textContent = question.answer;
    part(item, "answered").hidden = false;
  }

  setText(text) {
    this.text.textContent = text;
  }

  addText(text) {
    if (this.text.lastChild) this.text.lastChild.appendData(text);
    else this.text.append(text);
  }

  note(text) {
    const note = part(this.answer, "note");
    note.textContent = text;
    note.hidden = text === "";
  }

  showTool(id, call) {
    const list = part(this.answer, "tools");
    let item = [...list.children].find((each) => each.dataset.call === id);
    if (!item) {
      item = clone("tool-template");
      item.dataset.call = id;
      list.append(item);
      list.hidden = false;
    }
    setTool(item, call);
  }

  showSources(sources) {
    const line = part(this.answer, "sources");
    line.querySelectorAll("cite").forEach((cite) => cite.remove());
    for (const source of sources) {
      const cite = document.createElement("cite");
      cite.textContent = sourceLabel(source);
      cite.title = source;
      line.append(cite);
    }
    line.querySelector(".label").textContent = sources.length === 1 ? "Source" : "Sources";
    line.hidden = sources.length === 0;
  }

  showRoute(route) {
    this.route = route;
    this.#fillWhy({
      Action: ACTIONS[route.action] ?? route.action,
      Intent: route.intent ?? "none",
      Confidence: route.confidence === null ? "not needed" : `${(route.confidence * 100).toFixed(1)} %`,
      Reason: route.reason,
    });
  }

  showFacts(turn) {
    const { input_tokens: input, output_tokens: output } = turn.usage ?? {};
    this.#fillWhy({
      Release: turn.release_id,
      Tokens: input || output ? `${input ?? 0} in, ${output ?? 0} out` : null,
      Overhead: typeof turn.overhead_ms === "number" ? `${turn.overhead_ms.toFixed(1)} ms` : null,
      Trace: turn.error?.trace_id,
      Turn: turn.id,
    });
  }

  #fillWhy(facts) {
    const list = part(this.answer, "route");
    for (const [name, value] of Object.entries(facts)) {
      if (value === null || value === undefined) continue;
      let term = [...list.querySelectorAll("dt")].find((each) => each.textContent === name);
      if (!term) {
        term = document.createElement("dt");
        term.textContent = name;
        list.append(term, document.createElement("dd"));
      }
      term.nextElementSibling.textContent = value;
    }
    part(this.answer, "why").hidden = false;
  }
}

/** `14:32`, or with its day when that is not today. */
function clockTime(text) {
  const at = new Date(text);
  const time = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.toLocaleDateString(undefined, { day: "numeric", month: "short" })}, ${time}`;
}

export function clone(templateId) {
  return document.getElementById(templateId).content.firstElementChild.cloneNode(true);
}

export function part(element, name) {
  return element.querySelector(`[data-part="${name}"]`);
}

/** `{"order_id": "A1001", "items": [1, 2]}` as `order_id: A1001, items: [1,2]`, not too long. */
export function shortArguments(value, most = 120) {
  if (value === null || value === undefined) return "";
  const text =
    typeof value === "object" && !Array.isArray(value)
      ? Object.entries(value).map(([name, each]) => `${name}: ${plain(each)}`).join(", ")
      : plain(value);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** `knowledge/returns.md#Return window` as `Return window, returns.md`. */
function sourceLabel(source) {
  const [file, heading] = source.split(/#(.*)/s);
  const name = file.split("/").pop() || file;
  return heading ? `${heading}, ${name}` : name;
}

function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function setTool(item, call) {
  if (call.name !== undefined) part(item, "name").textContent = call.name;
  if (call.arguments !== undefined) part(item, "arguments").textContent = shortArguments(call.arguments);
  item.dataset.status = call.status;
  part(item, "status").textContent = TOOL_WORDS[call.status] ?? call.status;
}

function failure(error) {
  const reason = error?.code ? ` (${error.code})` : "";
  return `This turn failed${reason}. You can send the message again.`;
}

// An answer that names its file itself needs no second line that says so.
function unnamed(sources, text) {
  return sources.filter((source) => !text.includes(source.split("#")[0]));
}
