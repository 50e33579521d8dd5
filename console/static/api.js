/**
 * The HTTP half of the API, with the key a person gave where the server wants one.
 *
 * Every address is relative to the page's own, so that the page works behind a path prefix.
 */

const KEY = "troupe.key";

/** What the server refused, or that it could not be reached (`status` 0, code `unreachable`). */
export class ApiError extends Error {
  constructor({ status, code, message, param = null, requestId = null, retryAfter = null }) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { status, code, param, requestId, retryAfter });
  }
}

export class Api {
  #askForKey;
  #asking = null;

  /** @param {(wrong: boolean) => Promise<string>} askForKey Resolves once a person gave a key. */
  constructor(askForKey) {
    this.#askForKey = askForKey;
  }

  get hasKey() {
    return sessionStorage.getItem(KEY) !== null;
  }

  forgetKey() {
    sessionStorage.removeItem(KEY);
  }

  /** The agents, `auto` first: {name, description, simulated}. */
  async agents() {
    const { data } = await this.#call("GET", "models");
    const agents = data.map(({ id, troupe }) => ({ name: id, ...troupe }));
    const auto = agents.find(({ name }) => name === "auto") ?? { name: "auto" };
    return [auto, ...agents.filter(({ name }) => name !== "auto")];
  }

  /** One page of chats, newest first, from after the chat `after`. */
  chats(after = null, limit = 40) {
    return this.#call("GET", "conversations", { query: { limit, after } });
  }

  createChat(metadata) {
    return this.#call("POST", "conversations", { body: { metadata } });
  }

  chat(id) {
    return this.#call("GET", `conversations/${id}`);
  }

  /** Replaces the whole metadata. */
  updateChat(id, metadata) {
    return this.#call("POST", `conversations/${id}`, { body: { metadata } });
  }

  deleteChat(id) {
    return this.#call("DELETE", `conversations/${id}`);
  }

  /** A new chat with a copy of this one, up to and including an item. */
  forkChat(id, itemId, metadata) {
    return this.#call("POST", `conversations/${id}/fork`, { body: { item_id: itemId, metadata } });
  }

  /** One page of items older than `before`, newest first. */
  itemsBefore(id, before, limit = 40) {
    const query = { limit, order: "desc", after: before };
    return this.#call("GET", `conversations/${id}/items`, { query });
  }

  response(id) {
    return this.#call("GET", `responses/${id}`);
  }

  /** A new socket to a chat; a key cannot travel in its headers, so a ticket stands in. */
  async socket(id) {
    const url = address(`conversations/${id}/ws`);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (this.hasKey) {
      const { ticket } = await this.#call("POST", "tickets");
      url.searchParams.set("ticket", ticket);
    }
    return new WebSocket(url);
  }

  async #call(method, path, { query = {}, body = null } = {}) {
    const url = address(path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== null) url.searchParams.set(name, value);
    }
    for (;;) {
      const key = sessionStorage.getItem(KEY);
      const response = await send(method, url, body, key);
      if (response.status !== 401) return read(response);
      await this.#newKey(key);
    }
  }

  /** Several calls may be refused at once; a person is asked once. */
  async #newKey(refused) {
    if (sessionStorage.getItem(KEY) !== refused) return;
    this.#asking ??= this.#askForKey(refused !== null).then((key) => {
      sessionStorage.setItem(KEY, key);
      this.#asking = null;
    });
    await this.#asking;
  }
}

function address(path) {
  return new URL(`v1/${path}`, document.baseURI);
}

async function send(method, url, body, key) {
  const headers = { Accept: "application/json" };
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  if (body !== null) headers["Content-Type"] = "application/json";
  try {
    return await fetch(url, { method, headers, body: body === null ? null : JSON.stringify(body) });
  } catch {
    const message = "The server does not answer. Check that it is running and that you are online.";
    throw new ApiError({ status: 0, code: "unreachable", message });
  }
}

async function read(response) {
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // Not JSON: something between us and the gateway answered; the status tells what we know.
  }
  if (response.ok && answer !== null) return answer;
  throw new ApiError({
    status: response.status,
    code: answer?.error?.code ?? `http_${response.status}`,
    message: answer?.error?.message ?? `The server answered ${response.status} without a reason.`,
    param: answer?.error?.param,
    requestId: answer?.error?.request_id ?? response.headers.get("x-request-id"),
    retryAfter: Number(response.headers.get("retry-after")) || null,
  });
}
