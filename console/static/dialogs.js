/** The two questions the page asks in a dialog: which key, and what to do with a chat. */

import { byId, el } from "./dom.js";

const NOTICE_FOR_MS = 6000;

/** Ask for an API key until one is given; resolves with it. */
export function askForKey(wrong) {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-wrong").textContent = wrong ? "This key is not accepted. Check it and try again." : "";
  input.value = "";
  return new Promise((resolve) => {
    // There is nothing behind it to go back to: without a key the page can do nothing.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (key === "") return;
      dialog.close();
      resolve(key);
    };
    dialog.showModal();
    input.focus();
  });
}

/**
 * Ask what to do with a chat.
 *
 * @param {string} title
 * @returns {Promise<{do: "rename", title: string} | {do: "delete"} | {do: "nothing"}>}
 */
export function askAboutChat(title) {
  const dialog = byId("chat-dialog");
  const input = byId("chat-title");
  const remove = byId("chat-delete");
  input.value = title;
  remove.textContent = "Delete chat";
  let sure = false;
  return new Promise((resolve) => {
    const answer = (decision) => {
      resolve(decision);
      dialog.close();
    };
    byId("chat-form").onsubmit = (event) => {
      event.preventDefault();
      answer({ do: "rename", title: input.value.trim() });
    };
    remove.onclick = () => {
      if (sure) answer({ do: "delete" });
      sure = true;
      remove.textContent = "Delete for good?";
    };
    byId("chat-cancel").onclick = () => answer({ do: "nothing" });
    dialog.onclose = () => resolve({ do: "nothing" });
    dialog.showModal();
    input.select();
  });
}

/** Say something that belongs to no message, for a while. */
export function notice(words) {
  const node = el("div", { class: "notice", text: words });
  byId("notices").append(node);
  setTimeout(() => node.remove(), NOTICE_FOR_MS);
}
