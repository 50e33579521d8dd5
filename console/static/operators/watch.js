/**
 * One kind of data that is kept fresh while the page is looked at: one request at a time, the next
 * some time after the last has ended, later and later while they fail.
 */

const EVERY_MS = 2_000;
const AT_MOST_MS = 30_000;

export class Watch {
  /** What went wrong the last time; undefined until the first answer. */
  error = undefined;
  #fetch;
  #on;
  #timer = null;
  #round = 0;
  #failed = 0;
  #running = false;

  /**
   * @param {() => Promise<any>} fetch
   * @param {object} on
   * @param {(data: any) => void} on.news
   * @param {() => void} on.changed `error` is another one, or none any more.
   */
  constructor(fetch, on) {
    this.#fetch = fetch;
    this.#on = on;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.#running) this.#ask();
    });
  }

  /** Ask now; what is still under way is an answer to another question and is dropped. */
  refresh() {
    this.#round += 1;
    this.#failed = 0;
    this.#ask();
  }

  async #ask() {
    clearTimeout(this.#timer);
    const round = this.#round;
    this.#running = true;
    let [data, failure] = [null, null];
    try {
      data = await this.#fetch();
    } catch (error) {
      failure = error;
    }
    if (round !== this.#round) return;
    this.#running = false;
    this.#failed = failure === null ? 0 : this.#failed + 1;
    this.#settle(failure);
    const wait = Math.min(EVERY_MS * 2 ** this.#failed, AT_MOST_MS);
    this.#timer = setTimeout(() => document.hidden || this.#ask(), wait);
    if (failure === null) this.#on.news(data);
  }

  #settle(error) {
    if (error === null && this.error === null) return;
    this.error = error;
    this.#on.changed();
  }
}
