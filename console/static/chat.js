/**
 * One open chat: its transcript, its socket, and what was said here that the server has not
 * accepted yet.
 *
 * A message, or the wish to have another answer, is kept in `outbox` (and in the tab's storage, so that a reload does not lose it) from
 * Enter until the server accepts or refuses it, and is sent again whenever the session opens. Its
 * id stays the same, so the server takes it once however often it is sent.
 */

import { ApiError } from "./http.js";
import { SessionSocket } from "./socket.js";
import { Transcript } from "./transcript.js";

const TITLE_LENGTH = 80;

/** Errors after which the connection comes back by itself, or that say what is so anyway. */
const NO_NEWS = new Set([
  "gateway_draining",
  "host_unavailable",
  "not_found",
  "slow_reader",
  "stream_interrupted",
]);

export class Chat {
  transcript = new Transcript();
  #api;
  #on;
  #socket = null;
  #outbox = new Map();
  #creating = false;
  #loadingOlder = false;
  #asked = new Set();
  #leaving = false;

  /**
   * @param {import("./api.js").Api} api
   * @param {string|null} id Null for a chat that the first message will create.
   * @param {object} on
   * @param {() => void} on.list Entries came, went or changed.
   * @param {(entry: import("./transcript.js").Entry) => void} on.entry This one's content changed.
   * @param {(link: string) => void} on.link
   * @param {(chat: object) => void} on.created
   * @param {() => void} on.gone There is no such chat (any more).
   * @param {(error: object) => void} on.trouble Something failed that no entry can show.
   */
  constructor(api, id, on) {
    this.#api = api;
    this.id = id;
    this.#on = on;
    if (id !== null) this.#restore();
  }

  /** Begin to follow the chat; one that does not exist yet begins with its first message. */
  start() {
    if (this.id !== null) this.#connect();
  }

  /** @param {string} model An agent's name, or `auto`. */
  send(text, model) {
    const clientId = newClientId();
    this.transcript.say(clientId, text, model);
    this.#post(clientId, { text, model });
  }

  /** Send a refused message again, under a new id: the old one's fate is sealed. */
  resend(entry) {
    this.transcript.remove(entry);
    this.send(entry.text, entry.model ?? "auto");
  }

  /** Take a message that was not accepted back, to be changed. */
  withdraw(entry) {
    this.transcript.remove(entry);
    this.#settle(entry.clientId);
    this.#on.list();
  }

  /**
   * Have an answer anew: in its place where it is the last message, else by asking once more.
   */
  retry(answer, model) {
    if (answer === this.transcript.standing) this.answer(model, answer);
    else {
      const question = this.transcript.questionOf(answer);
      if (question) this.send(question.text, model);
    }
  }

  /**
   * Have what stands at the end answered. An answer that left a message is named, to be removed;
   * one that left none is in nobody's way.
   */
  answer(model, before = null) {
    if (this.transcript.standing === null) return;
    const regenerate = before?.itemId ? before.responseId : null;
    this.transcript.asking = newClientId();
    this.#post(this.transcript.asking, { text: null, model, regenerate });
  }

  stop() {
    const { running } = this.transcript;
    if (running) this.#socket?.send({ type: "response.cancel", response_id: running.responseId });
  }

  /** Put an older page of messages before the first. */
  async loadOlder() {
    const { oldestItemId, mayHaveOlder } = this.transcript;
    if (!mayHaveOlder || this.#loadingOlder || oldestItemId === null) return;
    this.#loadingOlder = true;
    try {
      const page = await this.#api.itemsBefore(this.id, oldestItemId);
      this.transcript.prepend(page.data, page.has_more);
      this.#on.list();
    } finally {
      this.#loadingOlder = false;
    }
  }

  /**
   * A message came into view. Past ones come as items, which name the response they belong to at
   * best: why this agent, how it ended, and what became of a question without an answer are asked
   * for when somebody looks.
   */
  async seen(entry) {
    const { kind, responseId, decision } = entry;
    const settled = kind === "note" || decision || this.transcript.hasAnswer(entry);
    if (!responseId || settled || this.#asked.has(responseId)) return;
    this.#asked.add(responseId);
    try {
      const response = await this.#api.response(responseId).catch(orNone);
      // In a fork, a question has brought its turn's id along from where that was answered.
      const elsewhere = kind === "user" && response?.conversation?.id !== this.id;
      if (elsewhere) this.transcript.leave(responseId);
      else if (response) this.transcript.learn(response);
      this.#on.list();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#asked.delete(responseId);
    }
  }

  /** Leave; what is still on its way out is brought there first. */
  close() {
    this.#leaving = true;
    if (this.#outbox.size === 0) this.#socket?.close();
  }

  #restore() {
    const stored = sessionStorage.getItem(`troupe.outbox.${this.id}`) ?? "[]";
    for (const { clientId, ...turn } of JSON.parse(stored)) {
      this.#outbox.set(clientId, turn);
      if (turn.text === null) this.transcript.asking = clientId;
      else this.transcript.say(clientId, turn.text, turn.model);
    }
  }

  #connect() {
    this.#socket = new SessionSocket({
      connect: () => this.#api.socket(this.id),
      cursor: () => this.transcript.cursor,
      onFrame: (frame) => this.#receive(frame),
      onLink: (link) => this.#on.link(link),
      onFailure: () => this.#stillThere(),
    });
    this.#socket.start();
  }

  /** @param {{text: string|null, model: string, regenerate?: string|null}} turn */
  #post(clientId, turn) {
    this.#outbox.set(clientId, turn);
    this.#store();
    this.#on.list();
    if (this.#socket) this.#socket.send(creation(clientId, turn));
    else this.#create(turn.text);
  }

  /** The chat itself comes to be with its first message; more of them wait in the outbox. */
  async #create(text) {
    if (this.#creating) return;
    this.#creating = true;
    try {
      const chat = await this.#api.createChat({ title: titleOf(text) });
      this.id = chat.id;
      this.#store();
      this.#on.created(chat);
      this.#connect();
    } catch (error) {
      for (const clientId of [...this.#outbox.keys()]) this.#refused(clientId, plainError(error));
    } finally {
      this.#creating = false;
    }
  }

  #receive(frame) {
    if (frame.type === "error") {
      this.#error(frame);
      return;
    }
    const changed = this.transcript.apply(frame);
    if (frame.type === "session.opened") {
      if (!frame.recovered) this.#lookAgain();
      this.#sendOutbox();
    }
    if (frame.type === "response.accepted" && frame.id) this.#settle(frame.id);
    if (changed) this.#on.entry(changed);
    else this.#on.list();
  }

  /** A snapshot came in place of events: an answer that we saw begin may have died with its host. */
  #lookAgain() {
    this.#asked.clear();
    const last = this.transcript.entries.findLast(({ itemId }) => itemId !== null);
    if (last) this.seen(last);
  }

  #sendOutbox() {
    for (const [clientId, turn] of this.#outbox) this.#socket.send(creation(clientId, turn));
  }

  #error({ id, error }) {
    // The session lives elsewhere by now: the socket follows it, and the outbox goes with it.
    if (error.code === "session_moved") return;
    if (!id && error.code === "frame_too_large" && this.#outbox.size > 0) {
      // The one refusal that cannot name the message: it was not even read.
      const length = ([, { text }]) => text?.length ?? 0;
      const [[longest]] = [...this.#outbox].sort((a, b) => length(b) - length(a));
      this.#refused(longest, error);
    } else if (!id) {
      if (!NO_NEWS.has(error.code)) this.#on.trouble(error);
    } else if (!this.#outbox.has(id)) {
      // Sent again before the news of it came: what became of it is known by now.
    } else if (error.code === "duplicate_id") {
      // It was accepted before the connection broke, and what is shown by now includes it.
      const entry = this.transcript.refuse(id, null);
      if (entry && entry.itemId === null) this.transcript.remove(entry);
      this.#settle(id);
      this.#on.list();
    } else this.#refused(id, error);
  }

  #refused(clientId, error) {
    this.#settle(clientId);
    if (!this.transcript.refuse(clientId, error)) this.#on.trouble(error);
    this.#on.list();
  }

  #settle(clientId) {
    if (!this.#outbox.delete(clientId)) return;
    if (this.transcript.asking === clientId) this.transcript.asking = null;
    this.#store();
    if (this.#leaving && this.#outbox.size === 0) this.#socket?.close();
  }

  /** Whether to go on trying: a socket that cannot open does not say why, so ask in another way. */
  async #stillThere() {
    try {
      await this.#api.chat(this.id);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) return true;
      this.#on.gone();
      return false;
    }
  }

  #store() {
    if (this.id === null) return;
    const waiting = [...this.#outbox].map(([clientId, turn]) => ({ clientId, ...turn }));
    if (waiting.length) sessionStorage.setItem(`troupe.outbox.${this.id}`, JSON.stringify(waiting));
    else sessionStorage.removeItem(`troupe.outbox.${this.id}`);
  }
}

function creation(clientId, { text, model, regenerate = null }) {
  const frame = { type: "response.create", id: clientId, input: text ?? [], model };
  return regenerate === null ? frame : { ...frame, regenerate };
}

/** Not `crypto.randomUUID`, which a page served over plain HTTP to another machine lacks. */
function newClientId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page_${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function titleOf(text) {
  const line = text.replace(/[\s\p{Cc}]+/gu, " ").trim();
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line;
}

function plainError(error) {
  if (!(error instanceof ApiError)) throw error;
  return { code: error.code, message: error.message, request_id: error.requestId };
}

function orNone(error) {
  if (error instanceof ApiError && error.status === 404) return null;
  throw error;
}
