/**
 * The transcript on the page: a message for each entry, in order, the scroll position, and what a
 * screen reader hears while an answer arrives.
 *
 * Changes gather until the next frame is painted, so a burst of tokens costs one layout.
 */

import { byId, copyText, el } from "./dom.js";
import { createMessage } from "./message.js";

const NEAR_PX = 80;
const OLDER_WITHIN_PX = 400;
const COPIED_FOR_MS = 1600;
const MAX_SPOKEN = 20;

export class TranscriptView {
  #talk = byId("talk");
  #root = byId("transcript");
  #jump = byId("jump");
  #older = byId("older");
  #announcer = byId("announcer");
  #inView;
  #on;
  #transcript = null;
  #messages = new Map();
  #dirty = new Set();
  #stale = false;
  #painting = 0;
  #following = true;
  #lastTop = 0;

  /**
   * @param {object} on
   * @param {() => void} on.older More of the past is wanted.
   * @param {(action: string, entry: import("./transcript.js").Entry) => void} on.action A person
   *   pressed retry, answer, fork, resend or withdraw.
   * @param {(entry: import("./transcript.js").Entry) => void} on.seen It came into view.
   */
  constructor(on) {
    this.#on = on;
    this.#talk.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#root.addEventListener("click", (event) => this.#clicked(event));
    this.#jump.addEventListener("click", () => this.follow());
    this.#inView = new IntersectionObserver((sights) => this.#looked(sights), { root: this.#talk });
    byId("load-older").addEventListener("click", () => on.older());
    new ResizeObserver(() => this.#keepPlace()).observe(this.#talk);
  }

  /** Show another chat from its end. */
  show(transcript) {
    this.#transcript = transcript;
    this.#messages.clear();
    this.#inView.disconnect();
    this.#root.replaceChildren();
    this.#announcer.replaceChildren();
    this.follow();
    this.changed();
  }

  /** Entries came, went or changed. */
  changed() {
    this.#stale = true;
    this.#paintSoon();
  }

  /** The content of this one entry changed. */
  entryChanged(entry) {
    this.#dirty.add(entry);
    this.#paintSoon();
  }

  /** Stay with the newest words from now on. */
  follow() {
    this.#following = true;
    this.#keepPlace();
  }

  #paintSoon() {
    this.#painting ||= requestAnimationFrame(() => {
      this.#painting = 0;
      this.#paint();
    });
  }

  #paint() {
    const fromBottom = this.#talk.scrollHeight - this.#talk.scrollTop;
    const first = this.#root.firstElementChild;
    if (this.#stale) this.#sync();
    for (const entry of this.#dirty) this.#messages.get(entry.key)?.update();
    this.#stale = false;
    this.#dirty.clear();
    // Older messages came in above what is being read: keep that where it is.
    if (first && first !== this.#root.firstElementChild && first.isConnected && !this.#following) {
      this.#talk.scrollTop = this.#talk.scrollHeight - fromBottom;
    }
    this.#older.hidden = !this.#transcript.mayHaveOlder;
    this.#keepPlace();
  }

  #sync() {
    const { entries, standing } = this.#transcript;
    const wanted = new Set(entries.map(({ key }) => key));
    for (const [key, message] of this.#messages) {
      if (wanted.has(key)) continue;
      message.node.remove();
      this.#messages.delete(key);
    }
    let place = this.#root.firstElementChild;
    for (const entry of entries) {
      let message = this.#messages.get(entry.key);
      if (message) message.update();
      else {
        message = createMessage(entry, (node) => this.#say(node.textContent));
        this.#messages.set(entry.key, message);
        this.#inView.observe(message.node);
      }
      message.node.toggleAttribute("data-standing", entry === standing);
      if (message.node === place) place = place.nextElementSibling;
      else this.#root.insertBefore(message.node, place);
    }
  }

  /** Hand a finished block to the screen reader: whole sentences, never single tokens. */
  #say(words) {
    this.#announcer.append(el("p", { text: words }));
    while (this.#announcer.childElementCount > MAX_SPOKEN)
      this.#announcer.firstElementChild.remove();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#talk;
    const near = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    // Words that arrive also move the end away; only a person moves the place upwards.
    if (near) this.#following = true;
    else if (scrollTop < this.#lastTop) this.#following = false;
    this.#lastTop = scrollTop;
    this.#jump.hidden = this.#following;
    if (scrollTop < OLDER_WITHIN_PX && !this.#following) this.#on.older();
  }

  #keepPlace() {
    // A chat without messages shows its welcome, which is read from the top.
    const empty = this.#root.childElementCount === 0;
    if (this.#following) this.#talk.scrollTop = empty ? 0 : this.#talk.scrollHeight;
    this.#lastTop = this.#talk.scrollTop;
    this.#jump.hidden = this.#following;
  }

  #looked(sights) {
    for (const { isIntersecting, target } of sights) {
      if (!isIntersecting) continue;
      this.#inView.unobserve(target);
      const entry = this.#entryOf(target);
      if (entry) this.#on.seen(entry);
    }
  }

  #entryOf(node) {
    const key = Number(node.dataset.key);
    return this.#transcript.entries.find((entry) => entry.key === key);
  }

  #clicked({ target }) {
    const button = target.closest("button[data-action]");
    if (!button) return;
    const entry = this.#entryOf(button.closest(".message"));
    const { action } = button.dataset;
    if (action === "copy-code")
      copied(button, button.closest(".code").querySelector("code").textContent);
    else if (action === "copy-answer") copied(button, entry.text);
    else {
      // The button may go with what it changes; the keyboard's place stays among the messages.
      this.#talk.focus({ preventScroll: true });
      this.#on.action(action, entry);
    }
  }
}

async function copied(button, text) {
  const words = button.querySelector("span") ?? button;
  words.textContent = (await copyText(text)) ? "Copied" : "Not allowed";
  setTimeout(() => {
    words.textContent = "Copy";
  }, COPIED_FOR_MS);
}
