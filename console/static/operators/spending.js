/** What an organization has spent, against its limits, and who spent most. */

import { byId, el } from "../dom.js";
import { mark, patch, say } from "./patch.js";
import { usd } from "./words.js";

/** @param {object} answer Of `GET spend`. */
export function showSpending({ today_usd: today, month_usd: month, budgets, users }) {
  const sums = [
    { name: "Today", spent: today, limit: budgets.org_day },
    { name: "This month", spent: month, limit: budgets.org_month },
  ];
  patch(byId("meters"), sums, ({ name }) => name, makeMeter, updateMeter);
  const spenders = users.toSorted((a, b) => b.month_usd - a.month_usd);
  patch(byId("users-rows"), spenders, ({ user }) => user, makeUser, (row, user) => {
    const [name, day, all] = row.children;
    say(name, user.user);
    say(day, usd(user.today_usd));
    say(all, usd(user.month_usd));
  });
  byId("users").hidden = users.length === 0;
  byId("users-none").hidden = users.length > 0;
}

function makeMeter({ name }) {
  return el(
    "div",
    { class: "meter" },
    el("p", {}, el("span", { text: name }), el("strong")),
    el(
      "div",
      { class: "meter-bar", role: "meter", "aria-label": name, "aria-valuemin": "0" },
      el("i"),
      el("b", { title: "Soft limit" }),
    ),
    el("small"),
  );
}

function updateMeter(node, { spent, limit }) {
  const soft = limit?.soft_usd ?? null;
  const hard = limit?.hard_usd ?? null;
  const most = hard ?? soft;
  const beyond = (sum) => sum !== null && spent >= sum;
  const state = beyond(hard) ? "hard" : beyond(soft) ? "soft" : "fine";
  mark(node, "data-state", state);
  say(node.querySelector("strong"), usd(spent));
  const bar = node.querySelector(".meter-bar");
  bar.hidden = most === null;
  if (most !== null) {
    const share = (sum) => `${Math.min(100, (sum / most) * 100)}%`;
    mark(bar, "aria-valuemax", String(most));
    mark(bar, "aria-valuenow", String(Math.min(spent, most)));
    mark(bar, "aria-valuetext", `${usd(spent)} of ${usd(most)}`);
    bar.querySelector("i").style.width = share(spent);
    const at = bar.querySelector("b");
    at.hidden = soft === null || hard === null;
    if (!at.hidden) at.style.left = share(soft);
  }
  say(node.querySelector("small"), limits(state, soft, hard));
}

function limits(state, soft, hard) {
  const said = [];
  if (soft !== null) said.push(`soft limit ${usd(soft)}`);
  if (hard !== null) said.push(`hard limit ${usd(hard)}`);
  if (said.length === 0) return "no limit";
  const words = { hard: "Turns are refused: ", soft: "Turns say so: ", fine: "" };
  return words[state] + said.join(", ");
}

function makeUser() {
  return el("tr", {}, el("th", { scope: "row" }), el("td"), el("td"));
}
