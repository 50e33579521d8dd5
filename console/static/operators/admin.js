/** The admin API: what operators see and change. */

import { Door } from "../http.js";

const TIMEOUT_MS = 15_000;
const VERSIONS = 50;

export class Admin {
  #door;

  /** @param {(wrong: boolean) => Promise<string>} askForKey Resolves once a person gave a key. */
  constructor(askForKey) {
    this.#door = new Door("admin/v1/", "troupe.admin-key", askForKey);
  }

  get hasKey() {
    return this.#door.hasKey;
  }

  forgetKey() {
    this.#door.forgetKey();
  }

  /** The rules in force for an organization, in order. */
  routes(org) {
    return this.#call("GET", "routes", { query: { org } });
  }

  /** The way of one message through them. */
  explain(question) {
    return this.#call("POST", "routes/explain", { body: question });
  }

  /** Endpoints, and what each host reports. */
  endpoints() {
    return this.#call("GET", "endpoints");
  }

  spend(org) {
    return this.#call("GET", "spend", { query: { org } });
  }

  /** The newest version of each scope. */
  policies() {
    return this.#call("GET", "policies");
  }

  /** The versions of a scope, the newest first. */
  versions(scope) {
    return this.#call("GET", `policies/${scope}/versions`, { query: { limit: VERSIONS } });
  }

  version(scope, number) {
    return this.#call("GET", `policies/${scope}/versions/${number}`);
  }

  /** Throws `ApiError` with `problems` where the text is no good. */
  check(scope, text) {
    return this.#call("POST", `policies/${scope}/check`, { body: text, type: "application/yaml" });
  }

  /** Put a new version in force that follows the version `after`, 0 for none. */
  apply(scope, text, after, note) {
    const headers = { "If-Match": `"${after}"` };
    const query = { note: note || null };
    const type = "application/yaml";
    return this.#call("PUT", `policies/${scope}`, { body: text, type, headers, query });
  }

  rollback(scope, version, note) {
    const body = { version, note: note || null };
    return this.#call("POST", `policies/${scope}/rollback`, { body });
  }

  #call(method, path, options) {
    return this.#door.call(method, path, { timeoutMs: TIMEOUT_MS, ...options });
  }
}
