// The clip itself: the video with the boxes of the faces, and the switch that plays it in sync.

import { element } from "./dom.js";
import { InSync } from "./insync.js";

export class Viewer {
  #faces = [];
  #chosen = 0;
  #boxes = new Map();
  #screen;
  #switch;
  #hint;
  #offsetMs = 0;
  #player = null;
  #address;
  #closed = false;

  // tell(seconds) is called with the position of the video.
  constructor(file, tell) {
    this.tell = tell;
    this.#address = URL.createObjectURL(file);
    this.video = element("video", { src: this.#address, controls: true, playsinline: true, preload: "auto" });
    this.video.setAttribute("aria-label", `The clip ${file.name}`);
    this.#screen = element("div", { class: "screen" }, this.video);
    this.#switch = element(
      "button",
      { class: "switch", type: "button", role: "switch", "aria-checked": "false", onclick: () => this.#toggle() },
      "Play in sync",
    );
    this.#hint = element("span", { class: "muted" });
    this.controls = element("div", { class: "controls" }, this.#switch, this.#hint);
    this.stage = element("div", { class: "stage" }, this.#screen);
    this.video.addEventListener("loadedmetadata", () => this.#fit());
    this.video.addEventListener("error", () => this.#giveUp());
    for (const name of ["timeupdate", "seeked", "loadeddata"]) {
      this.video.addEventListener(name, () => this.#moved());
    }
    if (this.video.requestVideoFrameCallback) this.#everyFrame();
  }

  get playing() {
    return !this.video.paused;
  }

  get sync() {
    return this.#player;
  }

  // The track whose numbers are shown, and by how much its audio is to be moved.
  choose(track) {
    const wasOn = this.#player?.on ?? false;
    this.#player?.set(false);
    this.#chosen = track.track;
    if (this.#offsetMs !== track.offset_ms || this.#player === null) {
      if (this.#player !== null) this.#renew();
      this.#offsetMs = track.offset_ms;
      this.#player = new InSync(this.video, track.offset_ms);
    }
    const moved = -track.offset_ms;
    this.#switch.disabled = moved === 0;
    this.#hint.textContent =
      moved === 0
        ? "There is nothing to move: audio and video are in sync."
        : `The audio is played ${Math.abs(moved)} ms ${moved < 0 ? "later" : "earlier"}.`;
    this.#switch.setAttribute("aria-checked", "false");
    if (wasOn && moved !== 0) this.#toggle();
    this.#draw();
  }

  set faces(faces) {
    this.#faces = faces;
    this.#draw();
  }

  seek(seconds) {
    const last = Number.isFinite(this.video.duration) ? this.video.duration : seconds;
    this.video.currentTime = Math.min(Math.max(0, seconds), last);
  }

  close() {
    this.#closed = true;
    this.#player?.close();
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.#address);
  }

  async #toggle() {
    const on = this.#switch.getAttribute("aria-checked") !== "true";
    this.#switch.setAttribute("aria-checked", String(on));
    await this.#player.set(on);
  }

  // A video element can be given to one audio graph only: another offset takes another element.
  #renew() {
    this.#player.close();
    const fresh = this.video.cloneNode();
    const position = this.video.currentTime;
    this.video.replaceWith(fresh);
    this.video.pause();
    this.video = fresh;
    fresh.currentTime = position;
    for (const name of ["timeupdate", "seeked", "loadeddata"]) {
      fresh.addEventListener(name, () => this.#moved());
    }
    if (fresh.requestVideoFrameCallback) this.#everyFrame();
  }

  #fit() {
    const { videoWidth, videoHeight } = this.video;
    if (videoWidth === 0) this.#giveUp();
    else this.#screen.style.setProperty("--aspect", videoWidth / videoHeight);
    this.#draw();
  }

  #giveUp() {
    if (this.#closed) return;
    this.controls.hidden = true;
    this.stage.replaceChildren(
      element(
        "p",
        { class: "unplayable" },
        "This browser cannot play the clip. The result is valid anyway, and you can download a repaired copy.",
      ),
    );
  }

  #everyFrame() {
    const { video } = this;
    const next = (_now, { mediaTime }) => {
      if (this.#closed || video !== this.video) return;
      this.#moved(mediaTime);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  #moved(seconds = this.video.currentTime) {
    this.#draw(seconds);
    this.tell(seconds);
  }

  #draw(seconds = this.video.currentTime) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return;
    for (const face of this.#faces) {
      const box = this.#box(face.track);
      const index = frameAt(face.frame_times, seconds);
      box.hidden = index === null;
      if (index === null) continue;
      const [x, y, w, h] = face.boxes[index];
      const left = Math.max(0, x);
      const top = Math.max(0, y);
      box.style.left = `${(100 * left) / width}%`;
      box.style.top = `${(100 * top) / height}%`;
      box.style.width = `${(100 * (Math.min(width, x + w) - left)) / width}%`;
      box.style.height = `${(100 * (Math.min(height, y + h) - top)) / height}%`;
      box.classList.toggle("guessed", !face.detected[index]);
      box.classList.toggle("other", face.track !== this.#chosen);
    }
  }

  #box(track) {
    if (!this.#boxes.has(track)) {
      const box = element("div", { class: "box" });
      this.#boxes.set(track, box);
      this.#screen.append(box);
    }
    return this.#boxes.get(track);
  }
}

// Index of the frame that is shown at a time; null where the face is not in view.
export function frameAt(times, seconds) {
  const tolerance = 0.06;
  if (times.length === 0 || seconds < times[0] - tolerance || seconds > times.at(-1) + tolerance) return null;
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= seconds + 0.001) low = middle;
    else high = middle - 1;
  }
  return low;
}
