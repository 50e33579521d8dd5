/** The message box: what a person writes, to whom, and the button that sends or stops. */

import { byId, el } from "./dom.js";

const AGENT = "troupe.agent";

export class Composer {
  #box = byId("message");
  #agent = byId("agent");
  #send = byId("send");
  #stop = byId("stop");
  #on;
  #running = false;
  #draft = "troupe.draft.new";

  /**
   * @param {object} on
   * @param {(text: string, model: string) => void} on.send
   * @param {() => void} on.stop
   */
  constructor(on) {
    this.#on = on;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#box.addEventListener("keydown", (event) => {
      // While an input method composes a word, Enter belongs to it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#box.addEventListener("input", () => {
      this.#keepDraft();
      this.#show();
    });
    this.#stop.addEventListener("click", () => on.stop());
    this.#agent.addEventListener("change", () => localStorage.setItem(AGENT, this.#agent.value));
  }

  get model() {
    return this.#agent.value;
  }

  /** @param {{name: string, description?: string}[]} agents The first one is the default. */
  offer(agents) {
    const chosen = localStorage.getItem(AGENT);
    this.#agent.replaceChildren(
      ...agents.map(({ name, description }) =>
        el("option", { value: name, text: name, title: description }),
      ),
    );
    const known = agents.some(({ name }) => name === chosen);
    this.#agent.value = known ? chosen : agents[0].name;
  }

  /** Talk to this agent from now on. */
  choose(name) {
    this.#agent.value = name;
    localStorage.setItem(AGENT, name);
    this.focus();
  }

  /** Turn to another chat, with what was begun there and not sent. */
  open(chatId) {
    this.#draft = `troupe.draft.${chatId ?? "new"}`;
    this.#box.value = sessionStorage.getItem(this.#draft) ?? "";
    this.#show();
  }

  /** Whether an answer is on its way, so that there is something to stop. */
  set running(running) {
    if (running === this.#running) return;
    this.#running = running;
    this.#show();
  }

  write(text) {
    this.#box.value = text;
    this.#keepDraft();
    this.#show();
    this.focus();
  }

  focus() {
    this.#box.focus({ preventScroll: true });
  }

  #submit() {
    const text = this.#box.value.trim();
    if (text === "") return;
    this.#box.value = "";
    this.#keepDraft();
    this.#show();
    this.#on.send(text, this.model);
  }

  #keepDraft() {
    if (this.#box.value) sessionStorage.setItem(this.#draft, this.#box.value);
    else sessionStorage.removeItem(this.#draft);
  }

  #show() {
    const empty = this.#box.value.trim() === "";
    const stop = this.#running && empty;
    const held = document.activeElement === this.#stop || document.activeElement === this.#send;
    this.#send.disabled = empty;
    this.#stop.hidden = !stop;
    this.#send.hidden = stop;
    // A button that goes away must not take the keyboard's place in the page with it.
    if (held && (document.activeElement !== this.#stop || !stop)) this.focus();
    this.#fit();
  }

  /** Browsers without `field-sizing` need to be told how tall the text is. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }
}
