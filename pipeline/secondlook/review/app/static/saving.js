// Changes go to the desk in their order, one at a time, each with the version that it was made on.
// What could not be saved is kept and tried again; nothing is dropped without a word.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;

const pause = (milliseconds) =>
  new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done);
  });

export class Saving {
  #waiting = [];
  #busy = false;
  #halted = false;
  #token;
  #pause = FIRST_PAUSE;
  #whenEmpty = [];

  /**
   * @param {{address: string, version: number, token: string, person: string}} place - where to save, and as whom.
   * @param {object} tell - functions that are told how it goes: saving, saved, failed, refused, conflict.
   */
  constructor(place, tell) {
    this.address = place.address;
    this.version = place.version;
    this.person = place.person;
    this.#token = place.token;
    this.tell = tell;
  }

  /** Whether there is anything that is not saved. */
  get pending() {
    return this.#waiting.length > 0;
  }

  /** Whether the last try failed. */
  get failing() {
    return this.#pause > FIRST_PAUSE;
  }

  /** Whether saving stopped because the case was changed elsewhere. */
  get halted() {
    return this.#halted;
  }

  /**
   * Save a change.
   * @param {{what: string, body: object, says: string, key?: string}} change - the end of the address, what to send,
   *   how to name it to a person; of changes with the same key that still wait, the last is enough.
   */
  add(change) {
    const last = this.#waiting.at(-1);
    const inFlight = this.#busy && this.#waiting.length === 1;
    if (change.key && last?.key === change.key && !inFlight) this.#waiting.pop();
    this.#waiting.push(change);
    this.#run();
  }

  /** Wait until everything is saved. False where saving stopped. */
  settled() {
    if (!this.pending) return Promise.resolve(true);
    if (this.#halted) return Promise.resolve(false);
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }

  /** What is there now. */
  async current() {
    const response = await fetch(this.address, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  }

  /** Go on after a conflict from a version; returns what was not saved, for someone to look at. */
  resume(version) {
    const unsaved = this.#waiting;
    this.#waiting = [];
    this.#halted = false;
    this.version = version;
    this.tell.saved();
    return unsaved;
  }

  async #run() {
    if (this.#busy || this.#halted) return;
    this.#busy = true;
    while (this.pending && !this.#halted) await this.#first();
    this.#busy = false;
    if (!this.#halted) this.tell.saved();
    for (const resolve of this.#whenEmpty.splice(0)) resolve(!this.#halted);
  }

  async #first() {
    const change = this.#waiting[0];
    this.tell.saving();
    let response, answer;
    try {
      response = await this.#post(change);
      answer = await response.json().catch(() => ({}));
    } catch {
      return this.#later("the desk cannot be reached");
    }
    if (response.ok) {
      this.#pause = FIRST_PAUSE;
      this.#waiting.shift();
      this.version = answer.version ?? this.version;
      return this.tell.accepted(answer, change);
    }
    const why = typeof answer.detail === "string" ? answer.detail : `the desk answered ${response.status}`;
    if (response.status === 409) {
      this.#halted = true;
      return this.tell.conflict(why);
    }
    if (response.status === 401) return this.#later("you are signed out; sign in again in another window", true);
    if (response.status === 403 && (await this.#newToken())) return undefined;
    if (response.status >= 500 || response.status === 429 || response.status === 408) return this.#later(why);
    this.#waiting.shift();
    return this.tell.refused(why, change);
  }

  #post(change) {
    return fetch(`${this.address}/${change.what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": this.#token },
      body: JSON.stringify({ ...change.body, version: this.version }),
    });
  }

  async #later(why, signedOut = false) {
    this.tell.failed(why);
    const wait = this.#pause;
    this.#pause = Math.min(2 * wait, LONGEST_PAUSE);
    await pause(wait);
    if (signedOut) await this.#newToken();
  }

  /** Whether the same person has signed in anew meanwhile; then changes go with the new session's token. */
  async #newToken() {
    try {
      const session = await (await fetch("/api/session", { headers: { Accept: "application/json" } })).json();
      if (session.pseudonym !== this.person || session.csrf === this.#token) return false;
      this.#token = session.csrf;
      return true;
    } catch {
      return false;
    }
  }
}
