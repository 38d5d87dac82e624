// Plays a clip with its audio moved against its video, by Web Audio.
//
// Audio that is ahead goes through a delay as long as the offset. Audio that is behind would have
// to be heard before it is read, so a companion, a second element of the same file, runs ahead of
// the video by the offset and a margin, and a delay takes the margin away again. Two elements
// never keep step to the millisecond: what the companion slips is measured while it plays and
// added to that delay.

const MARGIN_S = 0.25;
const LONGEST_DELAY_S = 15; // vshift of 250 frames, and the margin
const CHECK_MS = 200;
const GLIDE_S = 0.03; // of a correction: short, without a click

// The graph of one sounding element: element -> delay -> gain -> output.
export function connect(context, source) {
  const delay = context.createDelay(LONGEST_DELAY_S);
  const gain = context.createGain();
  source.connect(delay).connect(gain).connect(context.destination);
  return { delay: delay.delayTime, gain: gain.gain };
}

export class InSync {
  #video;
  #shift; // seconds by which the audio is to be heard later
  #context = null;
  #own = null; // graph of the video's own audio
  #companion = null;
  #led = null; // graph of the companion
  #timer = null;
  #on = false;
  #listening = new AbortController();

  // offsetMs: measured; positive: the audio is ahead of the video.
  constructor(video, offsetMs) {
    this.#video = video;
    this.#shift = offsetMs / 1000;
    const { signal } = this.#listening;
    const follow = () => this.#follow();
    for (const name of ["play", "pause", "seeking", "seeked", "ratechange", "waiting", "playing", "ended", "volumechange"]) {
      video.addEventListener(name, follow, { signal });
    }
  }

  get on() {
    return this.#on;
  }

  // By how much the audio is moved now, in seconds: later is positive. And the delay that is set.
  get state() {
    const delay = this.#on ? (this.#led ?? this.#own).delay.value : 0;
    const lead = this.#companion && this.#on ? this.#companion.currentTime - this.#video.currentTime : 0;
    return { on: this.#on, delay_s: delay, lead_s: lead, moved_s: delay - lead };
  }

  async set(on) {
    if (on && !this.#context) this.#build();
    if (this.#context?.state === "suspended") await this.#context.resume();
    this.#on = on;
    if (!this.#context) return;
    const led = on && this.#companion !== null;
    this.#own.delay.value = on && !led ? this.#shift : 0;
    this.#own.gain.value = led ? 0 : 1;
    if (this.#led) this.#led.gain.value = led ? 1 : 0;
    this.#follow(true);
  }

  close() {
    this.#listening.abort();
    clearInterval(this.#timer);
    this.#companion?.pause();
    this.#companion?.removeAttribute("src");
    this.#context?.close();
  }

  #build() {
    this.#context = new AudioContext();
    this.#own = connect(this.#context, this.#context.createMediaElementSource(this.#video));
    if (this.#shift >= 0) return;
    this.#companion = new Audio(this.#video.currentSrc);
    this.#companion.preload = "auto";
    this.#led = connect(this.#context, this.#context.createMediaElementSource(this.#companion));
    this.#timer = setInterval(() => this.#keepStep(), CHECK_MS);
  }

  // Does with the companion what a person does with the video.
  #follow(moved = this.#video.seeking) {
    const companion = this.#companion;
    if (!companion) return;
    companion.volume = this.#video.volume;
    companion.muted = this.#video.muted;
    companion.playbackRate = this.#video.playbackRate;
    if (moved) this.#lead();
    const playing = this.#on && !this.#video.paused && !this.#video.ended && !this.#video.seeking;
    if (playing && companion.paused) {
      this.#lead();
      companion.play().catch(() => {}); // a pause came in between
    } else if (!playing) companion.pause();
  }

  #lead() {
    this.#companion.currentTime = this.#video.currentTime - this.#shift + MARGIN_S;
    this.#led.delay.value = MARGIN_S;
  }

  #keepStep() {
    const companion = this.#companion;
    if (!this.#on || companion.paused || companion.seeking || this.#video.paused) return;
    const delay = companion.currentTime - this.#video.currentTime + this.#shift;
    if (companion.ended) return;
    if (delay < 0 || delay > 2 * MARGIN_S) this.#lead();
    else this.#led.delay.setTargetAtTime(delay, this.#context.currentTime, GLIDE_S);
  }
}
