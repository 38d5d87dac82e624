// A result: verdict, clip, figures, and what to take away.

import * as api from "./api.js";
import { confidenceChart, distanceChart, driftChart, picture } from "./charts.js";
import { announce, download, element } from "./dom.js";
import { FRAME_MS, capital, count, meaning, quoted, signed } from "./words.js";
import { Viewer } from "./viewer.js";

const STEP_S = 0.2;

export class Result {
  #place;
  #entry;
  #token;
  #track;
  #charts = [];
  #details = element("div", { class: "stack" });
  #timeline = element("div");

  constructor(place, entry, token) {
    this.#place = place;
    this.#entry = entry;
    this.#token = token;
    const { result } = entry.scored;
    this.tracks = [result, ...result.other_tracks];
    this.viewer = new Viewer(entry.file, (seconds) => this.#moved(seconds));

    const left = element(
      "div",
      { class: "card viewer" },
      this.viewer.stage,
      this.viewer.controls,
      this.#timeline,
    );
    const faces = this.tracks.length > 1 ? this.#faceButtons() : null;
    place.replaceChildren(
      element("div", { class: "columns" }, left, element("div", { class: "stack" }, faces, this.#details)),
    );
    place.hidden = false;
    this.#show(result);
    this.#loadFaces();
  }

  close() {
    this.viewer.close();
    this.#clear();
    this.#place.replaceChildren();
  }

  async #loadFaces() {
    try {
      this.viewer.faces = await api.faces(this.#entry.scored.id, this.#token());
    } catch {
      // The gateway has forgotten the job: the video is shown without boxes.
    }
  }

  #clear() {
    for (const chart of this.#charts) chart.close();
    this.#charts = [];
  }

  #show(track) {
    this.#clear();
    this.#track = track;
    this.viewer.choose(track);
    this.#timeline.replaceChildren();
    this.#details.replaceChildren(this.#verdict(track));
    this.#addConfidence(track);
    this.#addDistances(track);
    if (track.drift) this.#addDrift(track);
    this.#details.append(this.#takeaway());
  }

  #faceButtons() {
    const buttons = this.tracks.map((track, index) =>
      element(
        "button",
        {
          class: "button small",
          type: "button",
          "aria-pressed": String(index === 0),
          onclick: () => {
            for (const [other, button] of buttons.entries()) {
              button.setAttribute("aria-pressed", String(other === index));
            }
            this.#show(track);
          },
        },
        index === 0 ? "The clip" : `Face ${index + 1}`,
      ),
    );
    return element("div", { class: "faces", role: "group", "aria-label": "Faces in the clip" }, ...buttons);
  }

  #verdict(track) {
    const { result } = this.#entry.scored;
    const { trusted, reasons } = track.verdict;
    const { words, note } = meaning(track.meaning);
    const [low, high] = track.offset_interval_ms;
    const facts = [
      ["Offset", `${signed(track.offset_frames)} frames, ${signed(track.offset_ms)} ms`],
      ["95 % interval", `${signed(low)} to ${signed(high)} ms`],
      ["Agreement", `${Math.round(100 * track.agreement)} % of the draws`],
      ["Confidence", track.confidence.toFixed(2)],
      ["Least distance", track.min_distance.toFixed(2)],
      ["Searched", `\u00b1${result.vshift} frames`],
      ["Compared", `${(track.windows / 25).toFixed(1)} s of ${(result.frames / 25).toFixed(1)} s`],
      ["Weights", Object.entries(result.model_versions).map(([model, version]) => `${model} ${version}`).join(", ")],
    ];
    return element(
      "section",
      { class: "card", "aria-label": "Verdict" },
      element(
        "p",
        {},
        element(
          "span",
          { class: `badge ${trusted ? "good" : "bad"}` },
          trusted ? "\u2713 Trusted" : "\u26a0 Not to be trusted",
        ),
      ),
      element("h2", { class: "headline", id: "headline" }, `${capital(words)}.`),
      note ? element("p", { class: "muted" }, capital(note)) : null,
      reasons.length
        ? element("ul", { class: "reasons" }, ...reasons.map((reason) => element("li", {}, capital(reason.text))))
        : null,
      track.drift ? element("p", { class: "muted" }, capital(track.drift.text) + ".") : null,
      element("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
      result.warnings.length
        ? element("ul", { class: "warnings" }, ...result.warnings.map((warning) => element("li", {}, capital(warning))))
        : null,
    );
  }

  // A figure with a chart: title, what the cursor reads, the chart, and a key.
  #figure(parent, title, summary, key, draw) {
    const readout = element("output", { class: "readout" });
    const place = element("div", { class: "chart", role: "img", "aria-label": summary });
    parent.append(
      element(
        "figure",
        { class: parent === this.#timeline ? "figure" : "card" },
        element("figcaption", { class: "figure-head" }, element("h2", {}, title), readout),
        place,
        element("ul", { class: "key" }, ...key.map(([name, text]) => element("li", { class: name }, text))),
      ),
    );
    const chart = draw(place, (text) => {
      readout.textContent = text ?? "";
    });
    this.#charts.push(chart);
    return { chart, place };
  }

  #addConfidence(track) {
    const { chart, place } = this.#figure(
      this.#timeline,
      "Confidence over time",
      "",
      [
        ["", "median of 9 windows"],
        ["faint", "each window"],
        ["mark", "whole clip"],
      ],
      (where, tell) => confidenceChart(where, track, tell),
    );
    this.timeline = chart;
    place.classList.add("seek");
    for (const [name, value] of Object.entries({
      role: "slider",
      tabindex: 0,
      "aria-label": "Position in the clip",
      "aria-valuemin": track.start_s,
      "aria-valuemax": track.end_s,
    })) {
      place.setAttribute(name, value);
    }
    this.slider = place;
    place.addEventListener("click", (event) => this.viewer.seek(chart.timeAt(event.clientX)));
    place.addEventListener("keydown", (event) => {
      const now = this.viewer.video.currentTime;
      const target = {
        ArrowRight: now + STEP_S,
        ArrowUp: now + STEP_S,
        ArrowLeft: now - STEP_S,
        ArrowDown: now - STEP_S,
        PageUp: now + 10 * STEP_S,
        PageDown: now - 10 * STEP_S,
        Home: track.start_s,
        End: track.end_s,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      this.viewer.seek(target);
    });
    this.#moved(this.viewer.video.currentTime);
  }

  #addDistances(track) {
    const interval = track.offset_interval_ms.map((end) => end / FRAME_MS);
    this.#figure(
      this.#details,
      "Distance at every offset",
      `Distance of video and audio at every offset. It is least, ${track.min_distance.toFixed(2)}, at ` +
        `${signed(track.offset_frames)} frames, between ${signed(interval[0], 1)} and ` +
        `${signed(interval[1], 1)}; the median is ` +
        `${(track.min_distance + track.confidence).toFixed(2)}.`,
      [
        ["", "mean distance"],
        ["mark", "offset"],
        ["side", "left: audio behind; right: audio ahead"],
        ["band", "95 % interval"],
      ],
      (place, tell) => distanceChart(place, track, interval, tell),
    );
  }

  #addDrift(track) {
    this.#figure(
      this.#details,
      "Offset over time",
      `Offset of ${count(track.drift.segments.length, "segment")}: ${track.drift.text}.`,
      [
        ["dot", "trusted segment"],
        ["ring", "not trusted"],
        ["mark", "whole clip"],
      ],
      (place, tell) => driftChart(place, track, tell),
    );
  }

  #takeaway() {
    const { file, query } = this.#entry;
    const { result } = this.#entry.scored;
    const stem = file.name.replace(/\.[^.]*$/, "");
    const notice = element("div", { role: "alert" });
    const repair = element(
      "button",
      { class: "button", type: "button", onclick: () => this.#repair(repair, notice, {}) },
      "Repaired clip",
    );
    const search = new URLSearchParams(query).toString();
    const address = new URL(`v1/score${search && `?${search}`}`, document.baseURI).href;
    const token = this.#token() ? `-H "Authorization: Bearer $TOKEN" ` : "";
    const command = `curl ${token}-F clip=@${quoted(file.name)} ${quoted(address)}`;
    const copy = element(
      "button",
      {
        class: "button small",
        type: "button",
        onclick: async () => {
          await navigator.clipboard.writeText(command);
          copy.textContent = "Copied";
          announce("The command was copied");
          setTimeout(() => (copy.textContent = "Copy"), 2000);
        },
      },
      "Copy",
    );
    return element(
      "section",
      { class: "card takeaway", "aria-label": "Take away" },
      element("h2", {}, "Take away"),
      element(
        "div",
        { class: "takeaway-actions" },
        this.#track.offset_frames === 0 ? null : repair,
        element(
          "button",
          {
            class: "button",
            type: "button",
            onclick: () =>
              download(new Blob([JSON.stringify(result)], { type: "application/json" }), `${stem}.json`),
          },
          "JSON",
        ),
        element(
          "button",
          {
            class: "button",
            type: "button",
            onclick: async () => {
              const title = `${file.name}: ${meaning(this.#track.meaning).words}`;
              download(await picture(title, this.#charts), `${stem}.png`);
            },
          },
          "Plot",
        ),
      ),
      notice,
      element("p", { class: "muted" }, "The same from a terminal:"),
      element("div", { class: "command-line" }, element("code", { class: "command" }, command), copy),
    );
  }

  async #repair(button, notice, more) {
    const label = button.textContent;
    button.disabled = true;
    const show = (what, share) => {
      button.textContent = share === null ? `${what} \u2026` : `${what}, ${Math.round(100 * share)} %`;
    };
    show("Repairing", null);
    notice.replaceChildren();
    const tell = {
      upload: (share) => share < 1 && show("Uploading", share),
      job: ({ progress }) => show("Repairing", progress && api.share(progress)),
    };
    try {
      const { blob, name } = await api.align(
        this.#entry.file,
        { ...this.#entry.query, ...more },
        { token: this.#token(), tell },
      );
      download(blob, name);
      announce(`${name} was repaired`);
    } catch (error) {
      const anyway =
        error.kind === "untrusted"
          ? element(
              "button",
              { class: "button small", type: "button", onclick: () => this.#repair(button, notice, { force: true }) },
              "Repair anyway",
            )
          : null;
      notice.replaceChildren(element("p", { class: "notice" }, error.message, anyway));
    } finally {
      button.disabled = false;
      button.textContent = label;
    }
  }

  #moved(seconds) {
    if (!this.timeline || !this.#track) return;
    this.timeline.move(seconds);
    const { times, frame_confidence_median: confidence } = this.#track;
    const index = Math.min(Math.max(Math.round((seconds - times[0]) * (1000 / FRAME_MS)), 0), times.length - 1);
    this.slider.setAttribute("aria-valuenow", seconds.toFixed(2));
    this.slider.setAttribute("aria-valuetext", `${seconds.toFixed(1)} seconds, confidence ${confidence[index].toFixed(1)}`);
  }
}
