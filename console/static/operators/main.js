/**
 * The operators' page: what is in force, what becomes of it, and how to change it. Everything on
 * it comes from the admin API. Which organization is looked at stands in the address (`?org=…`).
 */

import { askForKey, notice } from "../dialogs.js";
import { byId, el } from "../dom.js";
import { ApiError } from "../http.js";
import { Admin } from "./admin.js";
import { newestRevision, showEndpoints } from "./endpoints.js";
import { ExplainBox } from "./explain.js";
import { showGlance } from "./glance.js";
import { patch, say } from "./patch.js";
import { PolicyPanel } from "./policies.js";
import { RulesView } from "./rules.js";
import { showSpending } from "./spending.js";
import { Watch } from "./watch.js";
import { count, plural, usd } from "./words.js";

const BASE = "base";
const KINDS = { routes: "Rules", report: "Endpoints", spend: "Spending", versions: "Policies" };

const admin = new Admin(async (wrong) => {
  const key = await askForKey(wrong);
  byId("forget-key").hidden = false;
  return key;
});

let org = null;
let scope = BASE;
let known = { routes: null, report: null, spend: null };

const rules = new RulesView();
const explain = new ExplainBox(admin, {
  org: () => org,
  endpoints: (agent) => known.report?.endpoints.filter((its) => its.agent === agent) ?? [],
});
const policies = new PolicyPanel(admin, { changed: () => refresh() });

const watches = {
  routes: new Watch(() => admin.routes(org), { news: routesCame, changed: showLink }),
  report: new Watch(() => admin.endpoints(), { news: reportCame, changed: showLink }),
  spend: new Watch(() => admin.spend(org), { news: spendCame, changed: showLink }),
  versions: new Watch(() => admin.versions(scope), {
    news: (answer) => policies.show(answer.data).catch(tell),
    changed: showLink,
  }),
};

function refresh() {
  for (const watch of Object.values(watches)) watch.refresh();
}

function routesCame(answer) {
  known.routes = answer;
  rules.showRules(answer);
  glance();
}

function reportCame(answer) {
  known.report = answer;
  rules.showReports(answer.hosts);
  showEndpoints(answer);
  glance();
}

/** Where no organization was chosen, the answer says which one this gateway serves. */
function spendCame(answer) {
  known.spend = answer;
  if (org === null) look(answer.org);
  showSpending(answer);
  glance();
}

function glance() {
  const { routes, report, spend } = known;
  const facts = [];
  const fact = (name, part, words, state = "") => facts.push({ name, part, words, state });
  if (routes) fact("Version in force", "rules", routes.version.replaceAll("+", " + "));
  if (report) {
    const { hosts, endpoints } = report;
    const newest = newestRevision(hosts);
    const live = hosts.filter(({ revision }) => revision === newest).length;
    const words = `${live} of ${plural(hosts.length, "host")}`;
    const refused = hosts.some(({ policy_errors: errors }) => errors.length > 0);
    const state = refused ? "bad" : live === hosts.length && live > 0 ? "good" : "wait";
    fact(`Live, revision ${newest}`, "endpoints", words, state);
    const closed = endpoints.filter(({ state }) => state === "closed").length;
    const all = closed === endpoints.length;
    fact("Circuits closed", "endpoints", `${closed} of ${endpoints.length}`, all ? "good" : "bad");
  }
  if (routes && report) {
    const failing = rules.failing.length;
    fact("Conditions failing", "rules", count(failing), failing ? "bad" : "good");
  }
  if (spend) fact("Spent today", "spending", usd(spend.today_usd));
  showGlance(facts);
}

function openScope() {
  const chosen = document.querySelector("input[name=scope]:checked").value;
  scope = chosen === BASE ? BASE : (org ?? BASE);
  policies.open(scope);
  watches.versions.refresh();
}

/** Look at an organization; null: at what holds for whoever has no policy of its own. */
function look(at) {
  org = at;
  byId("org").placeholder = org ?? "";
  say(byId("scope-org"), org ?? "Organization");
  openScope();
  watches.routes.refresh();
}

/** Whether what is shown is fresh; if not, why, and that it is tried again. */
function showLink() {
  const all = Object.values(watches).map((watch) => watch.error);
  const error = all.find((found) => found);
  const kind = Object.keys(watches).find((name) => watches[name].error);
  byId("trouble").hidden = !error;
  if (!error && all.includes(undefined)) return;
  byId("link").dataset.link = error ? "waiting" : "online";
  say(byId("link-words"), error ? "Not up to date" : "Live");
  if (error) {
    say(byId("trouble"), `${KINDS[kind]}: ${error.message} It is tried again.`);
    if (!(error instanceof ApiError)) reportError(error);
  }
}

function tell(error) {
  notice(error.message);
  if (!(error instanceof ApiError)) reportError(error);
}

/** The organizations that have a policy; any other can be typed. */
async function offerOrganizations() {
  const scopes = (await admin.policies()).data.map(({ scope: name }) => name);
  const named = scopes.filter((name) => name !== BASE);
  patch(byId("orgs"), named, String, (name) => el("option", { value: name }));
}

function orgFromAddress() {
  return new URLSearchParams(location.search).get("org");
}

function choose(chosen) {
  known = { ...known, routes: null, spend: null };
  byId("org").value = chosen ?? "";
  byId("rules-list").replaceChildren();
  byId("meters").replaceChildren();
  byId("users-rows").replaceChildren();
  explain.clear();
  look(chosen || null);
  watches.report.refresh();
  watches.spend.refresh();
}

byId("org-form").addEventListener("submit", (event) => event.preventDefault());
byId("org").addEventListener("change", () => {
  const chosen = byId("org").value.trim();
  history.pushState(null, "", chosen ? `?org=${encodeURIComponent(chosen)}` : location.pathname);
  choose(chosen);
});
byId("org").addEventListener("focus", () => offerOrganizations().catch(tell));
byId("scopes").addEventListener("change", openScope);
byId("forget-key").hidden = !admin.hasKey;
byId("forget-key").addEventListener("click", () => {
  admin.forgetKey();
  location.reload();
});
window.addEventListener("popstate", () => choose(orgFromAddress()));

choose(orgFromAddress());
