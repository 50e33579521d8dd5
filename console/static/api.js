/** The HTTP half of the public API, and its sockets. */

import { Door } from "./http.js";

export class Api {
  #door;

  /** @param {(wrong: boolean) => Promise<string>} askForKey Resolves once a person gave a key. */
  constructor(askForKey) {
    this.#door = new Door("v1/", "troupe.key", askForKey);
  }

  get hasKey() {
    return this.#door.hasKey;
  }

  forgetKey() {
    this.#door.forgetKey();
  }

  /** The agents, `auto` first: {name, description, simulated}. */
  async agents() {
    const { data } = await this.#door.call("GET", "models");
    const agents = data.map(({ id, troupe }) => ({ name: id, ...troupe }));
    const auto = agents.find(({ name }) => name === "auto") ?? { name: "auto" };
    return [auto, ...agents.filter(({ name }) => name !== "auto")];
  }

  /** One page of chats, newest first, from after the chat `after`. */
  chats(after = null, limit = 40) {
    return this.#door.call("GET", "conversations", { query: { limit, after } });
  }

  createChat(metadata) {
    return this.#door.call("POST", "conversations", { body: { metadata } });
  }

  chat(id) {
    return this.#door.call("GET", `conversations/${id}`);
  }

  /** Replaces the whole metadata. */
  updateChat(id, metadata) {
    return this.#door.call("POST", `conversations/${id}`, { body: { metadata } });
  }

  deleteChat(id) {
    return this.#door.call("DELETE", `conversations/${id}`);
  }

  /** A new chat with a copy of this one, up to and including an item. */
  forkChat(id, itemId, metadata) {
    const body = { item_id: itemId, metadata };
    return this.#door.call("POST", `conversations/${id}/fork`, { body });
  }

  /** One page of items older than `before`, newest first. */
  itemsBefore(id, before, limit = 40) {
    const query = { limit, order: "desc", after: before };
    return this.#door.call("GET", `conversations/${id}/items`, { query });
  }

  response(id) {
    return this.#door.call("GET", `responses/${id}`);
  }

  /** A new socket to a chat; a key cannot travel in its headers, so a ticket stands in. */
  async socket(id) {
    const url = this.#door.address(`conversations/${id}/ws`);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (this.hasKey) {
      const { ticket } = await this.#door.call("POST", "tickets");
      url.searchParams.set("ticket", ticket);
    }
    return new WebSocket(url);
  }
}
