/** Endpoints per agent with their circuits, and the hosts that report them. */

import { byId, el, icon } from "../dom.js";
import { mark, patch, say } from "./patch.js";
import { ago, ahead, count, ms, plural } from "./words.js";

const FACTS = ["Expected", "Running", "Asked", "Failed"];

/** @param {object} answer Of `GET endpoints`. */
export function showEndpoints({ hosts, endpoints }) {
  const agents = Map.groupBy(endpoints, ({ agent }) => agent);
  const away = endpoints.filter(({ state }) => state !== "closed").length;
  const words = `${plural(endpoints.length, "endpoint")} of ${plural(agents.size, "agent")}`;
  say(byId("endpoints-words"), away ? `${words}, ${count(away)} not closed.` : `${words}.`);
  patch(byId("endpoints-list"), agents, ([agent]) => agent, makeAgent, (node, [agent, its]) => {
    say(node.querySelector("h3"), agent);
    patch(node.querySelector("ul"), its, ({ endpoint }) => endpoint, makeEndpoint, updateEndpoint);
  });
  const newest = newestRevision(hosts);
  patch(byId("hosts-list"), hosts, ({ host }) => host, makeHost, (node, host) => {
    updateHost(node, host, newest);
  });
}

/** The revision that some host answers by and others may still lack. */
export const newestRevision = (hosts) => Math.max(0, ...hosts.map(({ revision }) => revision));

function makeAgent() {
  return el("section", { class: "of-agent" }, el("h3"), el("ul", { class: "endpoints" }));
}

function makeEndpoint() {
  const facts = FACTS.map((name) => el("div", {}, el("dt", { text: name }), el("dd")));
  return el(
    "li",
    { class: "endpoint" },
    el("div", { class: "endpoint-head" }, el("strong"), el("span", { class: "circuit" })),
    el("p", { class: "soft" }),
    el("dl", {}, ...facts),
    el("p", { class: "limit" }),
  );
}

function updateEndpoint(node, endpoint) {
  say(node.querySelector("strong"), endpoint.endpoint);
  const circuit = node.querySelector(".circuit");
  say(circuit, endpoint.state);
  mark(circuit, "data-state", endpoint.state);
  say(node.querySelector(".soft"), [endpoint.model, endpoint.region].filter(Boolean).join(" · "));
  const said = [
    ms(endpoint.expected_ms),
    count(endpoint.running),
    count(endpoint.asked),
    count(endpoint.failed),
  ];
  node.querySelectorAll("dd").forEach((fact, at) => say(fact, said[at]));
  const limited = ahead(endpoint.rate_limited_until);
  say(node.querySelector(".limit"), limited ? `Rate limited for ${limited}` : "");
  node.classList.toggle("limited", limited !== "");
}

function makeHost() {
  return el(
    "li",
    { class: "host" },
    el("div", { class: "host-head" }, el("strong"), el("span", { class: "badge" }), el("small")),
    el("ul", { class: "faults" }),
  );
}

function updateHost(node, { host, at, revision, policy_errors: errors }, newest) {
  say(node.querySelector("strong"), host);
  say(node.querySelector(".badge"), `revision ${revision}`);
  say(node.querySelector("small"), `reported ${ago(at)}`);
  node.classList.toggle("behind", revision < newest);
  patch(node.querySelector(".faults"), errors, String, makeProblem, (item, words) => {
    say(item.querySelector("span"), words);
  });
}

function makeProblem() {
  const words = el("strong", { text: "Policy refused here" });
  return el("li", { class: "fault" }, icon("warn"), words, el("span"));
}
