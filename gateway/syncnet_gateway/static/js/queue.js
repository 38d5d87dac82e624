// The clips that wait, are in work, or are done: each a line of the list.

import * as api from "./api.js";
import { announce, element } from "./dom.js";
import { capital, meaning, size } from "./words.js";

const MOST_RETRIES = 60;

export class Queue {
  #list;
  #select;
  #token;
  #limits;
  #entries = [];
  #running = 0;

  // select(entry, asked) shows a result; asked: a person wants to see it now.
  constructor(list, { limits, token, select }) {
    this.#list = list;
    this.#limits = limits;
    this.#token = token;
    this.#select = select;
  }

  add(file, query) {
    const entry = new Entry(file, query, {
      open: () => this.#choose(entry, true),
      remove: () => this.#remove(entry),
    });
    this.#entries.push(entry);
    this.#list.prepend(entry.line);
    if (file.size > this.#limits.max_bytes) {
      entry.fail(`${size(file.size)} is more than the ${size(this.#limits.max_bytes)} that this gateway takes`);
    }
    this.#next();
  }

  #next() {
    while (this.#running < this.#limits.jobs) {
      const entry = this.#entries.find((each) => each.state === "queued");
      if (!entry) return;
      this.#running += 1;
      this.#work(entry).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }

  async #work(entry) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        await entry.score(this.#token());
        announce(`${entry.file.name}: ${entry.summary}`);
        this.#choose(entry, false);
      } catch (error) {
        if (error.name === "AbortError") entry.fail("Cancelled");
        else if (error.status === 429 && attempt < MOST_RETRIES) {
          if (await entry.pause(error.retryAfter ?? 5)) continue;
          entry.fail("Cancelled");
        } else entry.fail(error.message);
        announce(`${entry.file.name}: ${entry.summary}`);
      }
      return;
    }
  }

  #choose(entry, asked) {
    if (entry.state !== "done" || !this.#select(entry, asked)) return;
    for (const each of this.#entries) each.line.classList.toggle("selected", each === entry);
  }

  #remove(entry) {
    entry.cancel();
    if (entry.state === "queued") entry.fail("Cancelled");
    else if (entry.over) {
      entry.line.remove();
      this.#entries.splice(this.#entries.indexOf(entry), 1);
    }
  }
}

class Entry {
  state = "queued"; // working, done, failed
  scored = null; // { id, result }
  summary = "Waits for its turn";
  #abort = new AbortController();
  #name;
  #text;
  #bar;
  #button;

  constructor(file, query, { open, remove }) {
    this.file = file;
    this.query = query;
    this.#name = element("span", { class: "name" }, file.name);
    this.#text = element("span", { class: "state" }, this.summary);
    this.#bar = element("progress", { max: 1, "aria-label": `Progress of ${file.name}`, hidden: true });
    this.#button = element("button", { class: "button small", type: "button", onclick: remove }, "Cancel");
    this.#button.setAttribute("aria-label", `Cancel ${file.name}`);
    this.line = element(
      "li",
      {},
      this.#name,
      this.#text,
      element("span", { class: "actions" }, this.#button),
      this.#bar,
    );
    this.open = open;
  }

  get over() {
    return this.state === "done" || this.state === "failed";
  }

  cancel() {
    this.#abort.abort();
  }

  async score(token) {
    this.state = "working";
    this.#bar.hidden = false;
    this.#show(`Uploading ${size(this.file.size)}`, 0);
    const tell = {
      upload: (share) => share < 1 && this.#show(`Uploading, ${Math.round(100 * share)} %`, share),
      job: (job) => this.#showJob(job),
    };
    this.scored = await api.score(this.file, this.query, { token, tell, signal: this.#abort.signal });
    this.#finish("done", capital(meaning(this.scored.result.meaning).words));
    const name = element("button", { class: "name", type: "button", onclick: this.open }, this.file.name);
    this.#name.replaceWith(name);
  }

  // Waits before another attempt; whether it is still wanted then.
  async pause(seconds) {
    this.#show(`The gateway is busy; tries again in ${seconds} s`, null);
    const { signal } = this.#abort;
    await new Promise((resolve) => {
      setTimeout(resolve, 1000 * seconds);
      signal.addEventListener("abort", resolve);
    });
    return !signal.aborted;
  }

  fail(reason) {
    this.#finish("failed", reason);
  }

  #showJob({ state, ahead, progress }) {
    if (state === "waiting") {
      this.#show(ahead > 0 ? `Waits; ${ahead} before it` : "Waits; is the next", null);
    } else if (state === "running" && progress === null) this.#show("Reading the clip", null);
    else if (state === "running") {
      this.#show(`Scoring: ${(progress.frames / 25).toFixed(0)} s of video read`, api.share(progress));
    }
  }

  #show(text, share) {
    this.#text.textContent = text;
    if (share === null) this.#bar.removeAttribute("value");
    else this.#bar.value = share;
  }

  #finish(state, summary) {
    this.state = state;
    this.summary = summary;
    this.#text.textContent = summary;
    this.#bar.hidden = true;
    this.#button.textContent = "Remove";
    this.#button.setAttribute("aria-label", `Remove ${this.file.name} from the list`);
    this.line.classList.toggle("failed", state === "failed");
  }
}
