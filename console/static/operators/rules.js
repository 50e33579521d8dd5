/** The rules in force, in order, with what hosts report of them: matches, conditions that failed. */

import { byId, el, icon } from "../dom.js";
import { patch, say } from "./patch.js";
import { ago, condition, count, leads, origin, plural } from "./words.js";

export class RulesView {
  #rules = [];
  #version = "";
  #reports = new Map();

  /** @param {object} answer Of `GET routes`. */
  showRules({ version, rules }) {
    this.#rules = rules;
    this.#version = version;
    const words = `${plural(rules.length, "rule")}, version ${version}.`;
    say(byId("rules-words"), `${words} The first that matches leads.`);
    this.#show();
  }

  /** @param {object[]} hosts Their reports, which are added up. */
  showReports(hosts) {
    this.#reports = addUp(hosts);
    this.#show();
  }

  /** Conditions of these rules that failed. */
  get failing() {
    return this.#rules.filter((rule) => this.#report(rule).faults.length > 0);
  }

  #report({ from, name }) {
    return this.#reports.get(`${from} ${name}`) ?? { matched: null, faults: [] };
  }

  #show() {
    const failing = this.failing;
    const alarm = byId("rules-alarm");
    alarm.hidden = failing.length === 0;
    const names = failing.map(({ name }) => name).join(", ");
    const words = "failed when asked, which counts as no match";
    say(alarm, `${plural(failing.length, "condition")} ${words}: ${names}.`);
    patch(byId("rules-list"), this.#rules, keyOf, makeRule, (node, rule) => {
      say(node.querySelector(".badge"), origin(rule.from, this.#version));
      updateRule(node, rule, this.#report(rule));
    });
  }
}

const keyOf = ({ from, name }) => `${from} ${name}`;

function makeRule() {
  return el(
    "li",
    { class: "rule" },
    el(
      "div",
      { class: "rule-head" },
      el("h3", { class: "rule-name" }),
      el("span", { class: "badge" }),
      el("span", { class: "rule-matched" }),
    ),
    el("code", { class: "condition" }),
    el("p", { class: "rule-leads" }, icon("route"), el("span")),
    el("ul", { class: "faults" }),
  );
}

function updateRule(node, rule, { matched, faults }) {
  const part = (selector) => node.querySelector(selector);
  say(part(".rule-name"), rule.name);
  say(part(".rule-matched"), matched === null ? "" : `matched ${count(matched)}`);
  say(part(".condition"), condition(rule.when));
  say(part(".rule-leads span"), leads(rule));
  node.classList.toggle("failing", faults.length > 0);
  patch(part(".faults"), faults, ({ reason }) => reason, makeFault, (item, fault) => {
    say(item.querySelector("strong"), `Failed ${plural(fault.count, "time")}`);
    say(item.querySelector("small"), `last ${ago(fault.last)}`);
    say(item.querySelector("span"), fault.reason);
  });
}

function makeFault() {
  return el("li", { class: "fault" }, icon("warn"), el("strong"), el("small"), el("span"));
}

/** Of all hosts: rule → {matched, faults}. */
function addUp(hosts) {
  const sums = new Map();
  for (const { source, rule, matched, faults } of hosts.flatMap(({ rules }) => rules)) {
    const key = `${source} ${rule}`;
    if (!sums.has(key)) sums.set(key, { matched: 0, faults: [] });
    const sum = sums.get(key);
    sum.matched += matched;
    for (const fault of faults) {
      const known = sum.faults.find(({ reason }) => reason === fault.reason);
      if (known) {
        known.count += fault.count;
        known.last = Math.max(known.last, fault.last);
      } else sum.faults.push({ ...fault });
    }
  }
  return sums;
}
