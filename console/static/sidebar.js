/** The list of past chats, and the drawer that it is on a narrow screen. */

import { byId, el, icon } from "./dom.js";

const DAY_MS = 86_400_000;
const FORK_OF = "Fork of ";

export class Sidebar {
  #nav = byId("chats");
  #opener = byId("open-drawer");
  #api;
  #on;
  #chats = [];
  #hasMore = false;
  #current = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {object} on
   * @param {(chat: object) => void} on.edit A person wants to rename or delete this chat.
   * @param {() => void} on.trouble The list could not be fetched.
   */
  constructor(api, on) {
    this.#api = api;
    this.#on = on;
    this.#opener.addEventListener("click", () => this.#drawer(true));
    byId("close-drawer").addEventListener("click", () => this.#drawer(false));
    byId("scrim").addEventListener("click", () => this.#drawer(false));
    byId("sidebar").addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.#drawer(false);
    });
    matchMedia("(max-width: 50rem)").addEventListener("change", () => this.#drawer(false));
  }

  /** Fetch the newest chats anew; what was listed beyond them stays. */
  async refresh() {
    try {
      const page = await this.#api.chats();
      const fresh = new Set(page.data.map(({ id }) => id));
      const oldest = page.data.at(-1);
      const beyond = oldest ? this.#chats.findIndex(({ id }) => id === oldest.id) : -1;
      const rest =
        beyond >= 0 ? this.#chats.slice(beyond + 1).filter(({ id }) => !fresh.has(id)) : [];
      if (rest.length === 0) this.#hasMore = page.has_more;
      this.#chats = [...page.data, ...rest];
      this.#show();
    } catch (error) {
      this.#on.trouble(error);
    }
  }

  /** Put a new or changed chat in its place. */
  put(chat) {
    const place = this.#chats.findIndex(({ id }) => id === chat.id);
    if (place >= 0) this.#chats[place] = chat;
    else this.#chats.unshift(chat);
    this.#show();
  }

  take(id) {
    this.#chats = this.#chats.filter((chat) => chat.id !== id);
    this.#show();
  }

  find(id) {
    return this.#chats.find((chat) => chat.id === id);
  }

  /** Mark the chat that is open, and give way to it where the list is a drawer. */
  select(id) {
    this.#current = id;
    this.#show();
    this.close();
  }

  close() {
    this.#drawer(false);
  }

  #drawer(open) {
    const was = document.body.classList.contains("drawer-open");
    if (was === open) return;
    document.body.classList.toggle("drawer-open", open);
    this.#opener.setAttribute("aria-expanded", String(open));
    byId("stage").inert = open;
    if (open) byId("close-drawer").focus();
    else this.#opener.focus();
  }

  #show() {
    const focused = this.#nav.contains(document.activeElement) ? document.activeElement.id : "";
    const parts = [];
    for (const [name, chats] of byAge(this.#chats)) {
      const list = el("ul", {}, ...chats.map((chat) => this.#row(chat)));
      parts.push(el("h2", { text: name }), list);
    }
    if (parts.length === 0)
      parts.push(el("p", { class: "empty", text: "Your chats will be listed here." }));
    if (this.#hasMore) {
      const more = el("button", {
        type: "button",
        class: "quiet",
        text: "Show more",
        id: "more-chats",
      });
      more.addEventListener("click", () => this.#more());
      parts.push(more);
    }
    this.#nav.replaceChildren(...parts);
    if (focused) document.getElementById(focused)?.focus();
  }

  #row(chat) {
    const { id } = chat;
    const title = titleOf(chat);
    const link = el("a", {
      id: `open-${id}`,
      href: `?c=${encodeURIComponent(id)}`,
      title,
      text: title,
      data: { chat: id },
      "aria-current": id === this.#current ? "page" : null,
    });
    const edit = el(
      "button",
      {
        type: "button",
        class: "icon-button",
        id: `edit-${id}`,
        "aria-label": `Rename or delete “${title}”`,
        on: { click: () => this.#on.edit(chat) },
      },
      icon("more"),
    );
    return el("li", {}, link, edit);
  }

  async #more() {
    try {
      const page = await this.#api.chats(this.#chats.at(-1)?.id ?? null);
      const known = new Set(this.#chats.map(({ id }) => id));
      this.#chats.push(...page.data.filter(({ id }) => !known.has(id)));
      this.#hasMore = page.has_more;
      this.#show();
    } catch (error) {
      this.#on.trouble(error);
    }
  }
}

export function titleOf(chat) {
  return chat?.metadata?.title || "Untitled chat";
}

/** What a copy of a chat is called: by its origin, however often it was copied before. */
export function forkTitle(metadata) {
  const title = metadata?.title || "an untitled chat";
  return title.startsWith(FORK_OF) ? title : `${FORK_OF}${title}`;
}

/** Chats under the names a person would give their age, in the order they have. */
function byAge(chats) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const name = ({ created_at: seconds }) => {
    const at = seconds * 1000;
    if (at >= midnight) return "Today";
    if (at >= midnight - DAY_MS) return "Yesterday";
    return at >= midnight - 7 * DAY_MS ? "Last seven days" : "Earlier";
  };
  const groups = new Map();
  for (const chat of chats) {
    const group = name(chat);
    groups.set(group, [...(groups.get(group) ?? []), chat]);
  }
  return groups;
}
