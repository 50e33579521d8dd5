/**
 * A chat's socket that comes back: it opens a session with the cursor its owner holds, and when
 * it is cut it waits a little longer each time, then opens again from where the owner then stands.
 *
 * It reads frames and understands one of them, `session.opened`; the rest is its owner's.
 */

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 10_000;
const OPEN_WITHIN_MS = 10_000;
const STEADY_AFTER_MS = 5_000;
const COME_BACK = 1012;
const COME_BACK_WITHIN_MS = 200;

/** @typedef {"connecting"|"online"|"waiting"|"closed"} Link */

export class SessionSocket {
  #connect;
  #cursor;
  #onFrame;
  #onLink;
  #onFailure;
  #socket = null;
  #timer = 0;
  #failures = 0;
  #opened = false;
  #openedAt = 0;
  #closed = false;
  #wake = () => this.#openNow();
  #sleep = () => this.#cut();

  /**
   * @param {object} owner
   * @param {() => Promise<WebSocket>} owner.connect
   * @param {() => {epoch: number, seq: number}} owner.cursor What the owner has seen.
   * @param {(frame: object) => void} owner.onFrame
   * @param {(link: Link) => void} owner.onLink
   * @param {() => Promise<boolean>} owner.onFailure Told when an attempt came to nothing; false
   *   when there is no use in another.
   */
  constructor({ connect, cursor, onFrame, onLink, onFailure }) {
    this.#connect = connect;
    this.#cursor = cursor;
    this.#onFrame = onFrame;
    this.#onLink = onLink;
    this.#onFailure = onFailure;
  }

  start() {
    window.addEventListener("online", this.#wake);
    window.addEventListener("offline", this.#sleep);
    document.addEventListener("visibilitychange", this.#wake);
    this.#open();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    window.removeEventListener("online", this.#wake);
    window.removeEventListener("offline", this.#sleep);
    document.removeEventListener("visibilitychange", this.#wake);
    this.#socket?.close();
    this.#socket = null;
    this.#onLink("closed");
  }

  /** Send a frame if the session is open; the owner repeats what matters when it opens again. */
  send(frame) {
    if (this.#opened) this.#socket.send(JSON.stringify(frame));
    return this.#opened;
  }

  /** A person came back or the network did: no need to wait any longer. */
  #openNow() {
    if (this.#socket === null && this.#timer && !document.hidden) {
      this.#failures = 0;
      this.#open();
    }
  }

  /** The system says that the network is gone; the socket itself might take minutes to notice. */
  #cut() {
    this.#socket?.close();
    this.#lost(this.#socket);
  }

  async #open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#onLink("connecting");
    let socket;
    try {
      socket = await this.#connect();
    } catch {
      await this.#failed();
      return;
    }
    if (this.#closed) {
      socket.close();
      return;
    }
    this.#socket = socket;
    this.#timer = setTimeout(() => {
      socket.close();
      this.#lost(socket);
    }, OPEN_WITHIN_MS);
    socket.addEventListener("open", () => {
      socket.send(JSON.stringify({ type: "session.open", cursor: this.#cursor() }));
    });
    socket.addEventListener("message", ({ data }) => this.#receive(socket, data));
    socket.addEventListener("close", ({ code }) => this.#lost(socket, code));
  }

  #receive(socket, data) {
    if (socket !== this.#socket || typeof data !== "string") return;
    const frame = JSON.parse(data);
    if (frame.type === "session.opened") {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#opened = true;
      this.#openedAt = performance.now();
      this.#onLink("online");
    } else if (!this.#opened) {
      // The session was refused; `onFailure` finds out whether for good.
      socket.close();
      this.#lost(socket);
      return;
    }
    this.#onFrame(frame);
  }

  /** `socket` is over; its own late events, after another took its place, mean nothing. */
  #lost(socket, code = 0) {
    if (socket === null || socket !== this.#socket) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    const wasOpen = this.#opened;
    this.#socket = null;
    this.#opened = false;
    // A server that takes us in and throws us out at once is not to be asked ever faster.
    if (wasOpen && performance.now() - this.#openedAt > STEADY_AFTER_MS) this.#failures = 0;
    if (wasOpen) this.#wait(code === COME_BACK);
    else this.#failed();
  }

  async #failed() {
    const again = await this.#onFailure();
    if (again && !this.#closed) this.#wait();
    else if (!this.#closed) this.close();
  }

  /**
   * Between half and all of a wait that doubles, so that many pages do not return as one.
   *
   * @param {boolean} invited The server said to come back: somebody else serves us right away.
   */
  #wait(invited = false) {
    if (this.#closed) return;
    const patience = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    const most = invited && this.#failures === 0 ? COME_BACK_WITHIN_MS : patience;
    this.#failures += 1;
    this.#onLink("waiting");
    this.#timer = setTimeout(() => this.#open(), most * (0.5 + Math.random() / 2));
  }
}
