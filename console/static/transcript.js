/**
 * What is known of one chat: the messages in order, and the cursor up to which it is known.
 *
 * Pure: frames and items go in, the list of entries changes; no network, no document. The same
 * frame may come twice (a replay, another answer to a retry), so everything but a delta may be
 * applied again, and a delta is dropped when the cursor has passed it.
 *
 * @typedef {object} Entry
 * @property {number} key Names the entry for as long as the page shows it.
 * @property {"user"|"answer"|"note"} kind
 * @property {string} text
 * @property {string} status For a user's: sending, sent, refused, or unanswered where the turn that
 *   it was said in left nothing here. For an answer: waiting, streaming, completed, failed,
 *   incomplete, cancelled.
 * @property {string|null} itemId
 * @property {string|null} responseId
 * @property {string|null} clientId Of a message from this page: its idempotency key.
 * @property {string|null} model The agent asked for, of a message from this page.
 * @property {{agent: string, rule: string, reason: string}|null} decision
 * @property {{code: string, message: string, request_id?: string}|null} error
 * @property {{to: string, anew: boolean}|null} moved Of an answer whose provider failed: where it
 *   went on last, or began anew.
 */

const RUNNING = new Set(["waiting", "streaming"]);
const FROM_THE_BEGINNING = { epoch: 0, seq: 0 };

export class Transcript {
  /** @type {Entry[]} */
  entries = [];
  /** Whether the server may hold messages older than the first entry. */
  mayHaveOlder = false;
  /** Of a turn of this page's without words of its own: its key, until the server took it. */
  asking = null;
  #cursor = FROM_THE_BEGINNING;
  #nextKey = 1;

  /**
   * Where to go on from. Until an event was seen this asks for everything: a snapshot tells what
   * was said, but only its turn's events, which come after it, tell how far that turn is.
   */
  get cursor() {
    return this.#cursor;
  }

  /** The turn that is running or next to run, or undefined. */
  get running() {
    const answers = this.entries.filter(
      ({ kind, status }) => kind === "answer" && RUNNING.has(status),
    );
    return answers.find(({ status }) => status === "streaming") ?? answers[0];
  }

  /** The last message, where nothing is running or on its way: it can be answered, or anew. */
  get standing() {
    const onItsWay = this.entries.some(({ status }) => status === "sending");
    if (this.asking !== null || this.running || onItsWay) return null;
    return this.entries[this.#end - 1] ?? null;
  }

  get oldestItemId() {
    return this.entries.find(({ itemId }) => itemId !== null)?.itemId ?? null;
  }

  /** A message of this page's own, before the server knows of it. */
  say(clientId, text, model) {
    const entry = this.#make({ kind: "user", text, status: "sending", clientId, model });
    this.entries.push(entry);
    return entry;
  }

  refuse(clientId, error) {
    const entry = this.#find({ clientId });
    if (entry) Object.assign(entry, { status: "refused", error });
    return entry;
  }

  remove(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
  }

  /** Put a page of older items, newest first, before what is there. */
  prepend(items, mayHaveOlder) {
    const known = new Set(this.entries.map(({ itemId }) => itemId));
    const older = items.filter(({ id }) => !known.has(id)).reverse();
    this.entries = [...older.map((item) => this.#make(fromItem(item))), ...this.entries];
    this.mayHaveOlder = mayHaveOlder;
  }

  /** Whether what was said in a turn has its answer below it, if by another turn. */
  hasAnswer({ kind, responseId }) {
    if (kind !== "user") return false;
    const last = this.entries.findLastIndex(
      (other) => other.kind !== "answer" && other.responseId === responseId,
    );
    return this.entries[last + 1]?.kind === "answer";
  }

  /** What a person said before this answer. */
  questionOf(answer) {
    const before = this.entries.slice(0, this.entries.indexOf(answer));
    return before.findLast(({ kind }) => kind === "user");
  }

  /** Take in what the server says of a response, unless events have told more by now. */
  learn(response) {
    const known = this.#find({ responseId: response.id, kind: "answer" });
    if (known?.decision) return;
    const { decision = null, ...facts } = fromResponse(response);
    if (!known) {
      if (this.hasAnswer({ kind: "user", responseId: response.id })) return;
      // What it said is no message of this chat any more.
      if (facts.itemId) {
        this.leave(response.id);
        return;
      }
    }
    const ended = !["queued", "in_progress"].includes(response.status);
    if (ended) this.#answer(response.id, { ...facts, decision, status: response.status });
    else if (!known) this.#answer(response.id, { decision });
  }

  /** Nothing came of this turn here: what was said in it stands without an answer. */
  leave(responseId) {
    const question = this.#find({ responseId, kind: "user" });
    if (question) question.status = "unanswered";
  }

  /**
   * Take in one frame.
   *
   * @returns {Entry|null} the one entry whose content changed, where its place did not; null when
   *   the list itself may have changed.
   */
  apply(frame) {
    if (frame.type === "session.opened") {
      if (!frame.recovered) this.#restart(frame.snapshot ?? []);
      return null;
    }
    if (frame.type === "response.output_text.delta") return this.#delta(frame);
    const passed = this.#passed(frame);
    if (["response.created", "response.resumed"].includes(frame.type) && passed) return null;
    this.#see(frame);
    switch (frame.type) {
      case "response.resumed":
        return this.#resumed(frame);
      case "response.accepted":
        this.#accepted(frame, passed);
        return null;
      case "response.created":
        this.#created(frame);
        return null;
      case "response.completed":
      case "response.failed":
      case "response.incomplete":
      case "response.cancelled":
        this.#ended(frame);
        return null;
      case "conversation.item.created":
        for (const item of frame.items ?? [frame.item]) this.#item(item);
        return null;
      default:
        return null;
    }
  }

  /** The server could not go on from our cursor: its snapshot is the truth, ours is void. */
  #restart(snapshot) {
    const first = snapshot[0]?.id;
    const overlap = this.entries.findIndex(({ itemId }) => itemId !== null && itemId === first);
    const older = overlap > 0 ? this.entries.slice(0, overlap) : [];
    const unsent = this.entries.filter(({ kind, itemId }) => kind === "user" && itemId === null);
    const before = new Map(this.entries.map((entry) => [entry.itemId ?? entry, entry]));
    const kept = snapshot.map((item) => {
      const known = before.get(item.id);
      return known ? merge(known, item) : this.#make(fromItem(item));
    });
    this.entries = [...older, ...kept, ...unsent];
    this.mayHaveOlder = older.length > 0 ? this.mayHaveOlder : snapshot.length > 0;
    this.#cursor = FROM_THE_BEGINNING;
  }

  /** Within an epoch the cursor never goes back, whatever is told again. */
  #see({ epoch, seq }) {
    if (Number.isInteger(seq) && !this.#passed({ epoch, seq })) this.#cursor = { epoch, seq };
  }

  #passed({ epoch, seq }) {
    return epoch === this.#cursor.epoch && seq <= this.#cursor.seq;
  }

  #delta(frame) {
    if (this.#passed(frame)) return null;
    this.#see(frame);
    const known = this.#find({ responseId: frame.response_id, kind: "answer" });
    const entry = this.#answer(frame.response_id, { status: "streaming" });
    entry.text += frame.delta;
    return known ? entry : null;
  }

  /**
   * A turn stands at the end of all that was accepted before it. One without input answers what
   * stands there, in place of an answer that is removed or of attempts that left no message.
   */
  #accepted({ id, response_id: responseId, input, removed = null }, passed) {
    if (removed !== null) this.remove(this.#find({ itemId: removed }));
    if (input.length === 0 && !passed) this.#dropAttempts(responseId);
    const fresh = !passed && !this.#find({ responseId, kind: "answer" });
    let own = id ? this.#find({ clientId: id, itemId: null }) : undefined;
    for (const item of input) {
      if (own && item.role === "user") {
        this.remove(own);
        const known = this.#find({ itemId: item.id });
        if (known) Object.assign(known, { clientId: id, responseId });
        else this.#add(Object.assign(own, fromItem(item), { responseId, error: null }));
        own = undefined;
      } else {
        const known = fresh ? this.#find({ itemId: item.id }) : undefined;
        if (known) {
          this.remove(known);
          this.#add(known);
        }
        this.#item({ ...item, response_id: responseId });
      }
    }
    // Told again, its answer is here, or was removed since.
    if (!passed) this.#answer(responseId, {});
  }

  #dropAttempts(responseId) {
    for (;;) {
      const last = this.entries[this.#end - 1];
      const left = last?.kind !== "answer" || last.itemId !== null || RUNNING.has(last.status);
      if (left || last.responseId === responseId) return;
      this.remove(last);
    }
  }

  /** A turn's events begin here; those of an ended turn may carry its whole text even now. */
  #created({ response_id: responseId, response }) {
    const { decision = null } = fromResponse(response);
    this.#answer(responseId, { status: "streaming", text: "", error: null, moved: null, decision });
  }

  /** The turn goes on elsewhere, from this place in its text. Positions count code points. */
  #resumed({ response_id: responseId, position, policy, to = null }) {
    const known = this.#find({ responseId, kind: "answer" });
    const entry = this.#answer(responseId, { status: "streaming" });
    if (to !== null) entry.moved = { to, anew: policy === "restart" };
    entry.text = [...entry.text].slice(0, position).join("");
    return known ? entry : null;
  }

  #ended({ response_id: responseId, response }) {
    const facts = fromResponse(response);
    const entry = this.#answer(responseId, { ...facts, status: response.status });
    const double = this.entries.find(
      (other) => other !== entry && other.itemId !== null && other.itemId === entry.itemId,
    );
    if (double) this.remove(double);
  }

  /** The answer of this response, made where its question stands if there is none yet. */
  #answer(responseId, facts) {
    let entry = this.#find({ responseId, kind: "answer" });
    if (!entry) {
      entry = this.#make({ kind: "answer", status: "waiting", responseId });
      const question = this.entries.findLastIndex((other) => other.responseId === responseId);
      this.entries.splice(question >= 0 ? question + 1 : this.#end, 0, entry);
    }
    return Object.assign(entry, facts);
  }

  #item(item) {
    const ofTurn = item.role === "assistant" && item.response_id;
    const known =
      this.#find({ itemId: item.id }) ??
      (ofTurn ? this.#find({ responseId: item.response_id, kind: "answer" }) : undefined);
    if (known) merge(known, item);
    else this.#add(this.#make(fromItem(item)));
  }

  /** Behind all that the server knows: what it has not accepted yet stays last. */
  get #end() {
    const unsent = this.entries.findIndex(({ kind, itemId }) => kind === "user" && itemId === null);
    return unsent >= 0 ? unsent : this.entries.length;
  }

  #add(entry) {
    this.entries.splice(this.#end, 0, entry);
    return entry;
  }

  /** The newest entry of which all these are true. */
  #find(facts) {
    const wanted = Object.entries(facts);
    return this.entries.findLast((entry) => wanted.every(([name, value]) => entry[name] === value));
  }

  #make(facts) {
    const nothing = { itemId: null, responseId: null, clientId: null, model: null };
    const key = this.#nextKey;
    this.#nextKey += 1;
    return { key, text: "", decision: null, error: null, moved: null, ...nothing, ...facts };
  }
}

/** Bring an entry up to its item, without undoing what an item does not say. */
function merge(entry, item) {
  const { responseId, decision, status, kind } = entry;
  const facts = fromItem(item);
  facts.responseId ??= responseId;
  if (kind === "answer") {
    facts.decision ??= decision;
    if (!RUNNING.has(status)) facts.status = status;
  }
  return Object.assign(entry, facts);
}

function fromItem(item) {
  const facts = {
    itemId: item.id,
    responseId: item.response_id ?? null,
    text: textOf(item.content),
  };
  if (item.role === "user") return { ...facts, kind: "user", status: "sent" };
  if (item.role !== "assistant") return { ...facts, kind: "note", status: "sent" };
  return { ...facts, kind: "answer", status: "completed", decision: item.troupe ?? null };
}

/** A response's own word on its answer; while it runs, its text is what the deltas brought. */
function fromResponse(response) {
  const facts = { error: response.error ?? null };
  if (response.troupe) facts.decision = response.troupe;
  if (response.status === "incomplete")
    facts.error = { code: "incomplete", ...response.incomplete_details };
  const message = response.output?.find(({ type }) => type === "message");
  if (message) Object.assign(facts, { itemId: message.id, text: textOf(message.content) });
  return facts;
}

function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? part.refusal ?? "").join("");
}
