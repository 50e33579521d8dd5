/**
 * The page's composition root: one api, one sidebar, one composer, one view, and the chat that is
 * open. Which chat that is stands in the address (`?c=…`), so every chat can be linked to.
 */

import { Api } from "./api.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { askAboutChat, askForKey, notice } from "./dialogs.js";
import { byId } from "./dom.js";
import { ApiError } from "./http.js";
import { headline } from "./message.js";
import { forkTitle, Sidebar, titleOf } from "./sidebar.js";
import { TranscriptView } from "./view.js";
import { introduce, offerPrompts } from "./welcome.js";

const LINK_WORDS = {
  ready: "Ready",
  connecting: "Connecting",
  online: "Connected",
  waiting: "Reconnecting",
  closed: "Not connected",
};

const api = new Api(async (wrong) => {
  const key = await askForKey(wrong);
  byId("forget-key").hidden = false;
  return key;
});
const view = new TranscriptView({
  older: () => loadOlder(),
  action,
  seen: (entry) => chat.seen(entry),
});
const composer = new Composer({
  send: (text, model) => {
    chat.send(text, model);
    view.follow();
  },
  stop: () => chat.stop(),
});
const sidebar = new Sidebar(api, { edit: editChat, trouble: tell });

/** @type {Chat} */
let chat;
let forking = false;

/** Open a chat, or with null a new one; the address is the caller's to change. */
function open(id) {
  chat?.close();
  const own = new Chat(api, id, {
    list: () => own === chat && listChanged(),
    entry: (entry) => own === chat && view.entryChanged(entry),
    link: (link) => own === chat && showLink(link),
    created: (created) => chatCreated(own, created),
    gone: () => own === chat && chatGone(),
    trouble: (error) => own === chat && tell(error),
  });
  chat = own;
  byId("loading").hidden = id === null;
  if (id === null) showLink("ready");
  view.show(own.transcript);
  composer.open(id);
  sidebar.select(id);
  showTitle();
  listChanged();
  own.start();
  if (matchMedia("(hover: hover)").matches) composer.focus();
}

function go(id) {
  history.pushState(null, "", id === null ? location.pathname : `?c=${encodeURIComponent(id)}`);
  open(id);
}

function chatFromAddress() {
  return new URLSearchParams(location.search).get("c");
}

function listChanged() {
  const empty = chat.transcript.entries.length === 0;
  const fresh = empty && byId("loading").hidden;
  byId("welcome").hidden = !fresh;
  byId("talk").classList.toggle("empty", fresh);
  composer.running = chat.transcript.running !== undefined;
  view.changed();
}

/** From the first time that a session opens, what the transcript holds is what there is. */
function showLink(link) {
  if (link === "online") byId("loading").hidden = true;
  byId("link").dataset.link = link;
  byId("link-words").textContent = LINK_WORDS[link];
}

function chatCreated(own, created) {
  sidebar.put(created);
  if (own !== chat) return;
  history.pushState(null, "", `?c=${encodeURIComponent(created.id)}`);
  composer.open(created.id);
  sidebar.select(created.id);
  showTitle();
}

function chatGone() {
  notice("This chat does not exist, or not any more.");
  sidebar.take(chat.id);
  history.replaceState(null, "", location.pathname);
  open(null);
}

async function showTitle() {
  const { id } = chat;
  const name = (title) => {
    byId("title").textContent = title;
    document.title = id === null ? "Troupe" : `${title} · Troupe`;
  };
  if (id === null) name("New chat");
  else if (sidebar.find(id)) name(titleOf(sidebar.find(id)));
  else {
    name("Chat");
    // Opened by a link and not among those listed. If it cannot be had, the socket says why.
    const found = await api.chat(id).catch(() => null);
    if (found && chat.id === id) name(titleOf(found));
  }
}

async function editChat({ id, metadata }) {
  const decision = await askAboutChat(metadata?.title ?? "");
  try {
    if (decision.do === "rename") {
      sidebar.put(await api.updateChat(id, { ...metadata, title: decision.title }));
      if (id === chat.id) showTitle();
    } else if (decision.do === "delete") {
      await api.deleteChat(id);
      sidebar.take(id);
      if (id === chat.id) go(null);
    }
  } catch (error) {
    tell(error);
  }
}

async function loadOlder() {
  await chat.loadOlder().catch(tell);
}

async function action(name, entry) {
  if (name === "fork") {
    await fork(entry);
    return;
  }
  view.follow();
  if (name === "retry") chat.retry(entry, composer.model);
  else if (name === "answer") chat.answer(composer.model);
  else if (name === "resend") chat.resend(entry);
  else if (name === "withdraw") {
    chat.withdraw(entry);
    composer.write(entry.text);
  }
}

/** Go on in a copy of the chat that ends with this message. */
async function fork({ itemId }) {
  if (forking) return;
  forking = true;
  const own = chat;
  try {
    const { metadata } = sidebar.find(own.id) ?? (await api.chat(own.id));
    const copy = await api.forkChat(own.id, itemId, { ...metadata, title: forkTitle(metadata) });
    sidebar.put(copy);
    if (own === chat) go(copy.id);
  } catch (error) {
    tell(error);
  } finally {
    forking = false;
  }
}

/** What went wrong where no message can show it. What is not an answer of the server is a bug. */
function tell(error) {
  if (error instanceof Error && !(error instanceof ApiError)) throw error;
  notice(`${headline(error.code)}. ${error.message}`);
}

async function offerAgents() {
  try {
    const agents = await api.agents();
    composer.offer(agents);
    introduce(agents, (name) => composer.choose(name));
  } catch (error) {
    tell(error);
  }
}

offerPrompts((text) => {
  chat.send(text, composer.model);
  composer.focus();
});
byId("new-chat").addEventListener("click", () => go(null));
byId("chats").addEventListener("click", (event) => {
  const link = event.target.closest("a[data-chat]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(link.dataset.chat);
});
byId("forget-key").hidden = !api.hasKey;
byId("forget-key").addEventListener("click", () => {
  api.forgetKey();
  location.reload();
});
window.addEventListener("popstate", () => open(chatFromAddress()));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) sidebar.refresh();
});

open(chatFromAddress());
offerAgents();
sidebar.refresh().then(showTitle);
