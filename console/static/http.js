/**
 * One door of the server, with the key a person gave where it wants one.
 *
 * Every address is relative to the page's own, so that the page works behind a path prefix.
 */

/** What the server refused, or that it could not be reached (`status` 0, code `unreachable`). */
export class ApiError extends Error {
  constructor({ status, code, message, problems = [], ...rest }) {
    super(message);
    this.name = "ApiError";
    const { param = null, requestId = null, retryAfter = null } = rest;
    Object.assign(this, { status, code, problems, param, requestId, retryAfter });
  }
}

export class Door {
  #path;
  #name;
  #askForKey;
  #asking = null;

  /**
   * @param {string} path What is behind the door, as `v1/`.
   * @param {string} name The key's name in this tab's storage.
   * @param {(wrong: boolean) => Promise<string>} askForKey Resolves once a person gave a key.
   */
  constructor(path, name, askForKey) {
    this.#path = path;
    this.#name = name;
    this.#askForKey = askForKey;
  }

  get hasKey() {
    return sessionStorage.getItem(this.#name) !== null;
  }

  forgetKey() {
    sessionStorage.removeItem(this.#name);
  }

  address(path) {
    return new URL(this.#path + path, document.baseURI);
  }

  /**
   * Call and read the answer; throws `ApiError`.
   *
   * @param {object} [options]
   * @param {Object<string, any>} [options.query] What is null is left out.
   * @param {any} [options.body] Sent as JSON; a string as it is, as `options.type`.
   * @param {Object<string, string>} [options.headers]
   * @param {number} [options.timeoutMs] After which the server counts as silent.
   */
  async call(method, path, options = {}) {
    const url = this.address(path);
    for (const [name, value] of Object.entries(options.query ?? {})) {
      if (value !== null) url.searchParams.set(name, value);
    }
    for (;;) {
      const key = sessionStorage.getItem(this.#name);
      const response = await send(method, url, key, options);
      if (response.status !== 401) return read(response);
      await this.#newKey(key);
    }
  }

  /** Several calls may be refused at once; a person is asked once. */
  async #newKey(refused) {
    if (sessionStorage.getItem(this.#name) !== refused) return;
    this.#asking ??= this.#askForKey(refused !== null).then((key) => {
      sessionStorage.setItem(this.#name, key);
      this.#asking = null;
    });
    await this.#asking;
  }
}

async function send(method, url, key, { body = null, type = null, headers = {}, timeoutMs }) {
  const sent = { Accept: "application/json", ...headers };
  if (key !== null) sent.Authorization = `Bearer ${key}`;
  if (body !== null) sent["Content-Type"] = type ?? "application/json";
  const content = body === null || type !== null ? body : JSON.stringify(body);
  const signal = timeoutMs ? AbortSignal.timeout(timeoutMs) : undefined;
  try {
    return await fetch(url, { method, headers: sent, body: content, signal });
  } catch {
    const message = "The server does not answer. Check that it is running and that you are online.";
    throw new ApiError({ status: 0, code: "unreachable", message });
  }
}

async function read(response) {
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // Not JSON: something between us and the gateway answered; the status tells what we know.
  }
  if (response.ok && answer !== null) return answer;
  throw new ApiError({
    status: response.status,
    code: answer?.error?.code ?? `http_${response.status}`,
    message: answer?.error?.message ?? `The server answered ${response.status} without a reason.`,
    problems: answer?.error?.problems,
    param: answer?.error?.param,
    requestId: answer?.error?.request_id ?? response.headers.get("x-request-id"),
    retryAfter: Number(response.headers.get("retry-after")) || null,
  });
}
