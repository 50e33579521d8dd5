/** One message on the page: made from an entry of the transcript, and kept equal to it. */

import { el, icon } from "./dom.js";
import { createFace, showFace } from "./face.js";
import { MarkdownView } from "./render.js";

/** What went wrong, in a few words, by the error's code. The server's own sentence follows it. */
const HEADLINES = {
  busy: "Too much at once",
  mailbox_full: "Too many messages are waiting in this chat",
  agent_busy: "This agent has too much to do",
  agent_unavailable: "This agent has too much to do",
  host_full: "Troupe has too much to do",
  too_large: "That message is too long",
  message_too_long: "That message is too long",
  frame_too_large: "That message is too long",
  invalid_characters: "That message cannot be read",
  conversation_locked: "An answer is still on its way",
  conversation_advanced: "The chat has gone on since",
  nothing_to_answer: "Nothing waits for an answer",
  unreachable: "The server cannot be reached",
  unavailable: "Troupe cannot take this right now",
  store_unavailable: "Troupe cannot take this right now",
  host_unavailable: "Troupe cannot take this right now",
  session_moved: "The chat moved while it answered",
  budget_exceeded: "What may be spent is spent",
  model_not_found: "There is no agent of that name",
  provider_rate_limited: "The model has too much to do",
  provider_timeout: "The model took too long",
  provider_interrupted: "The answer broke off",
  provider_unavailable: "The model cannot be reached",
  provider_rejected: "The model refused this message",
  provider_unauthorized: "The model refused this Troupe’s key",
};

/** The same message would meet the same end. */
const NOT_AGAIN = new Set([
  "too_large",
  "message_too_long",
  "frame_too_large",
  "invalid_characters",
  "invalid_request",
  "unsupported_parameter",
  "model_not_found",
  "budget_exceeded",
  "provider_rejected",
]);

const CUT_SHORT = {
  max_output_tokens: "The answer reached the longest that this agent may give.",
  content_filter: "The model’s filter ended the answer here.",
};

const FORK = "Fork from here";

/** @param {string} code */
export const headline = (code) => HEADLINES[code] ?? "That did not work";

/** @typedef {import("./transcript.js").Entry} Entry */

/** @param {(node: HTMLElement) => void} onSettled Told of each finished block of a new answer. */
export function createMessage(entry, onSettled) {
  const message = entry.kind === "answer" ? new Answer(entry, onSettled) : new Words(entry);
  message.node.dataset.key = entry.key;
  message.update();
  return message;
}

/** A person's message, or a note by another client. Shown as it was written. */
class Words {
  #entry;
  #words = el("div", { class: "words" });
  #below = el("div");
  #shown = "";

  constructor(entry) {
    this.#entry = entry;
    const label = entry.kind === "user" ? "Your message" : "Note";
    const attributes = { class: `message ${entry.kind}`, "aria-label": label };
    this.node = el("article", attributes, this.#words, this.#below);
  }

  update() {
    const { text, status, error, itemId, responseId } = this.#entry;
    this.node.dataset.status = status;
    if (this.#words.textContent !== text) this.#words.textContent = text;
    // Made anew only when it differs, or a button in it would lose the focus.
    const stored = itemId !== null;
    const alone = stored && (responseId === null || status === "unanswered");
    const shown = JSON.stringify([status, error, stored, alone]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const below = [];
    if (status === "sending") below.push(el("div", { class: "state", text: "Sending…" }));
    if (status === "refused")
      below.push(trouble(error, ["withdraw", "Edit"], ["resend", "Send again"]));
    if (stored) below.push(forkIcon());
    if (alone && this.#entry.kind === "user")
      below.push(el("div", { class: "offer" }, buttons([["answer", "Get an answer"]])));
    this.#below.replaceChildren(...below);
  }
}

class Answer {
  #entry;
  #face = createFace();
  #who = el("div", { class: "who" });
  #waiting = el("p", { class: "waiting" }, el("i"), el("i"), el("i"));
  #markdown = el("div", { class: "markdown" });
  #below = el("div");
  #view;
  #shown = "";

  constructor(entry, onSettled) {
    this.#entry = entry;
    const live = entry.status === "waiting" || entry.status === "streaming";
    this.#view = new MarkdownView(this.#markdown, live ? onSettled : undefined);
    this.#waiting.append(el("span", { class: "visually-hidden", text: "Waiting for the answer" }));
    this.node = el(
      "article",
      { class: "message answer" },
      this.#face,
      this.#who,
      this.#waiting,
      this.#markdown,
      this.#below,
    );
  }

  update() {
    const { text, status, decision, error, moved, itemId, responseId } = this.#entry;
    const ended = status !== "waiting" && status !== "streaming";
    this.node.dataset.status = status;
    this.node.setAttribute("aria-busy", String(!ended));
    this.#waiting.hidden = ended || text !== "";
    this.#view.update(text, ended);

    const said = ended && text !== "";
    const shown = JSON.stringify([status, decision, error, moved, said, itemId, responseId]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const name = decision?.agent ?? (ended ? "Agent" : "");
    this.#who.textContent = name;
    this.node.setAttribute("aria-label", name ? `Answer by ${name}` : "Answer");
    showFace(this.#face, name);
    this.#below.replaceChildren(...this.#footer(ended));
  }

  #footer(ended) {
    const { status, decision, error, moved } = this.#entry;
    const below = moved ? [whereItWent(moved)] : [];
    if (!ended) return below;
    if (status === "failed") below.push(trouble(error, ["retry", "Try again"]));
    if (status === "cancelled")
      below.push(mild("This answer was stopped.", ["retry", "Ask again"]));
    if (status === "incomplete") {
      below.push(mild(CUT_SHORT[error?.reason] ?? "The answer ended before it was complete."));
    }
    const why = decision ? whyThisAgent(decision) : null;
    const cost = decision?.cost_usd ? whatItCost(decision.cost_usd) : null;
    const tools = el("span", { class: "tools" }, ...this.#tools());
    if (tools.childElementCount || why) below.push(el("div", { class: "after" }, why, cost, tools));
    return below;
  }

  #tools() {
    const { text, status, itemId, responseId } = this.#entry;
    const tools = [];
    // Where it failed or was stopped, the words that say so have a button of their own.
    const well = status === "completed" || status === "incomplete";
    if (well && (itemId === null || responseId !== null))
      tools.push(tool("retry", "retry", "Regenerate"));
    if (text) tools.push(tool("copy-answer", "copy", "Copy"));
    if (itemId !== null) tools.push(tool("fork", "fork", "Fork", FORK));
    return tools;
  }
}

/** @param {string|null} [name] What it is called in full, where the words are fewer. */
function tool(action, picture, words, name = null) {
  const attributes = { type: "button", class: "quiet", data: { action }, title: name };
  return el(
    "button",
    { ...attributes, "aria-label": name },
    icon(picture),
    el("span", { text: words }),
  );
}

function forkIcon() {
  const attributes = { type: "button", class: "icon-button", data: { action: "fork" } };
  return el("button", { ...attributes, title: FORK, "aria-label": FORK }, icon("fork"));
}

/** The reason is a sentence of the router's own, which names the rule. */
function whyThisAgent({ agent, rule, reason }) {
  const why = rule === "model" ? ", as you chose" : `. ${reason ?? ""}`;
  return el(
    "span",
    { class: "decision" },
    icon("route"),
    el("span", {}, "Answered by ", el("b", { text: agent }), why),
  );
}

function whatItCost(dollars) {
  const words = dollars < 0.0001 ? "< $0.0001" : `$${dollars.toFixed(dollars < 0.1 ? 4 : 2)}`;
  return el("span", { class: "cost", title: "What this answer cost", text: words });
}

/** A provider failed in the midst of the answer, and another endpoint took over. */
function whereItWent({ to, anew }) {
  const words = anew ? "Begun anew at " : "Went on at ";
  return el("p", { class: "moved" }, words, el("b", { text: to }), ".");
}

/** @param {...[string, string]} actions Name and words of each button. */
function trouble(error, ...actions) {
  const { code = "", message = "", request_id: requestId } = error ?? {};
  const useful = actions.filter(([action]) => action !== "resend" || !NOT_AGAIN.has(code));
  return el(
    "div",
    { class: "trouble", role: "alert" },
    el("strong", {}, icon("warn"), headline(code)),
    message ? el("p", { text: message }) : null,
    requestId ? el("small", { text: `Request ${requestId}` }) : null,
    buttons(useful),
  );
}

function mild(words, ...actions) {
  const box = el("div", { class: "trouble mild" }, el("p", { text: words }));
  if (actions.length) box.append(buttons(actions));
  return box;
}

function buttons(actions) {
  const icons = { retry: "retry", resend: "retry", withdraw: "edit", answer: "answer" };
  return el(
    "div",
    { class: "buttons" },
    ...actions.map(([action, words]) =>
      el(
        "button",
        { type: "button", class: "plain", data: { action } },
        icon(icons[action]),
        words,
      ),
    ),
  );
}
