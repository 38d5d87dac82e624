// The figures of a result, drawn by uPlot in the colours of the page.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { element } from "./dom.js";
import { FRAME_MS, signed } from "./words.js";

const FONT = '12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

function colour(name) {
  // light-dark() is resolved on a real property only.
  const probe = element("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function axis(label, more = {}) {
  return {
    label,
    font: FONT,
    labelFont: FONT,
    labelSize: 18,
    labelGap: 0,
    stroke: () => colour("muted"),
    grid: { stroke: () => colour("grid"), width: 1 },
    ticks: { stroke: () => colour("grid"), width: 1, size: 4 },
    ...more,
  };
}

// A chart that is as wide as its place and is drawn anew when the scheme changes.
class Chart {
  #observer;
  #scheme = matchMedia("(prefers-color-scheme: dark)");
  #redraw = () => this.#restyle();

  constructor(place, height, options, data) {
    this.place = place;
    this.plot = new uPlot(
      {
        width: Math.max(240, place.clientWidth),
        height,
        legend: { show: false },
        cursor: { y: false, points: { show: true }, drag: { x: false, y: false } },
        ...options,
      },
      data,
      place,
    );
    this.#observer = new ResizeObserver(() => {
      if (place.clientWidth > 0) this.plot.setSize({ width: place.clientWidth, height });
    });
    this.#observer.observe(place);
    this.#scheme.addEventListener("change", this.#redraw);
  }

  #restyle() {
    this.plot.redraw(false, true);
  }

  close() {
    this.#observer.disconnect();
    this.#scheme.removeEventListener("change", this.#redraw);
    this.plot.destroy();
  }
}

function dashed(plot, x0, y0, x1, y1, name) {
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = colour(name);
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
  ctx.restore();
}

function level(value) {
  return (plot) => {
    const y = plot.valToPos(value, "y", true);
    const { left, width, top, height } = plot.bbox;
    if (y >= top && y <= top + height) dashed(plot, left, y, left + width, y, "mark");
  };
}

// Mean distance of video and audio at every offset. interval: of the offset, in frames.
export function distanceChart(place, track, interval, tell) {
  const reach = (track.mean_distances.length - 1) / 2;
  const offsets = track.mean_distances.map((_, index) => index - reach);
  const distances = [...track.mean_distances].reverse(); // entry j belongs to the offset reach - j

  const mark = (plot) => {
    const { ctx, bbox } = plot;
    const [from, to] = interval.map((end) => plot.valToPos(end, "x", true));
    ctx.save();
    ctx.globalAlpha = 0.25;
    ctx.fillStyle = colour("mark");
    ctx.fillRect(from, bbox.top, Math.max(2 * devicePixelRatio, to - from), bbox.height);
    ctx.restore();
    const x = plot.valToPos(track.offset_frames, "x", true);
    dashed(plot, x, bbox.top, x, bbox.top + bbox.height, "mark");
  };
  const point = (plot) => {
    const { ctx } = plot;
    ctx.save();
    ctx.fillStyle = colour("mark");
    ctx.beginPath();
    ctx.arc(
      plot.valToPos(track.offset_frames, "x", true),
      plot.valToPos(track.min_distance, "y", true),
      5 * devicePixelRatio,
      0,
      2 * Math.PI,
    );
    ctx.fill();
    ctx.restore();
  };

  return new Chart(
    place,
    230,
    {
      scales: { x: { time: false, range: [-reach - 0.5, reach + 0.5] } },
      axes: [
        axis("offset in frames", {
          size: 30,
          values: (_plot, values) => values.map((value) => (Number.isInteger(value) ? signed(value) : "")),
        }),
        axis("distance", { size: 46 }),
      ],
      series: [
        {},
        {
          stroke: () => colour("series"),
          width: 2,
          points: { show: reach <= 30, size: 5, fill: () => colour("series") },
        },
      ],
      hooks: {
        drawClear: [mark],
        draw: [point],
        setCursor: [
          ({ cursor: { idx } }) =>
            tell(
              idx === null || idx === undefined
                ? null
                : `${signed(offsets[idx])} frames (${signed(offsets[idx] * FRAME_MS)} ms): ${distances[idx].toFixed(2)}`,
            ),
        ],
      },
    },
    [offsets, distances],
  );
}

// Confidence of the windows over time, with a line for the position of the video.
export function confidenceChart(place, track, tell) {
  const chart = new Chart(
    place,
    170,
    {
      scales: { x: { time: false, range: [track.start_s, track.end_s] } },
      axes: [axis("seconds", { space: 60, size: 30 }), axis("confidence", { size: 46 })],
      series: [
        {},
        { stroke: () => colour("series"), alpha: 0.45, width: 1, points: { show: false } },
        { stroke: () => colour("series"), width: 2, points: { show: false } },
      ],
      hooks: {
        drawClear: [level(track.confidence)],
        setCursor: [
          ({ cursor: { idx } }) =>
            tell(
              idx === null || idx === undefined
                ? null
                : `${track.times[idx].toFixed(2)} s: ${track.frame_confidence_median[idx].toFixed(1)}`,
            ),
        ],
      },
    },
    [track.times, track.frame_confidence, track.frame_confidence_median],
  );
  const playhead = element("div", { class: "playhead" });
  chart.plot.over.append(playhead);
  chart.move = (seconds) => {
    playhead.style.left = `${chart.plot.valToPos(seconds, "x")}px`;
    playhead.hidden = seconds < track.start_s || seconds > track.end_s;
  };
  chart.timeAt = (clientX) => {
    const { left, width } = chart.plot.over.getBoundingClientRect();
    return chart.plot.posToVal(Math.min(Math.max(clientX - left, 0), width), "x");
  };
  return chart;
}

// The offset of the segments of a long clip.
export function driftChart(place, track, tell) {
  const { segments } = track.drift;
  const middles = segments.map((segment) => (segment.start_s + segment.end_s) / 2);
  const values = segments.map((segment) => segment.offset_ms);
  const low = Math.min(...values, track.offset_ms);
  const high = Math.max(...values, track.offset_ms);
  const room = Math.max(3 * FRAME_MS - (high - low), 0) / 2 + 15; // what is steady should look steady

  const points = (plot) => {
    const { ctx } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("series");
    ctx.lineWidth = 2 * devicePixelRatio;
    for (const [index, segment] of segments.entries()) {
      ctx.beginPath();
      const x = plot.valToPos(middles[index], "x", true);
      ctx.arc(x, plot.valToPos(values[index], "y", true), 4 * devicePixelRatio, 0, 2 * Math.PI);
      if (segment.trusted) ctx.fill();
      else ctx.stroke();
    }
    ctx.restore();
  };
  return new Chart(
    place,
    170,
    {
      scales: {
        x: { time: false, range: [track.start_s, track.end_s] },
        y: { range: [low - room, high + room] },
      },
      axes: [axis("seconds", { space: 60, size: 30 }), axis("offset in ms", { size: 52 })],
      series: [{}, { stroke: "transparent", points: { show: false } }],
      hooks: {
        drawClear: [level(track.offset_ms)],
        draw: [points],
        setCursor: [
          ({ cursor: { idx } }) =>
            tell(
              idx === null || idx === undefined
                ? null
                : `${segments[idx].start_s.toFixed(0)} to ${segments[idx].end_s.toFixed(0)} s: ${signed(values[idx])} ms`,
            ),
        ],
      },
    },
    [middles, values],
  );
}

// The charts as one picture, under a title.
export function picture(title, charts) {
  const scale = devicePixelRatio;
  const head = 44 * scale;
  const canvases = charts.map((chart) => chart.plot.ctx.canvas);
  const canvas = element("canvas");
  canvas.width = Math.max(...canvases.map((each) => each.width)) + 32 * scale;
  canvas.height = canvases.reduce((sum, each) => sum + each.height + 16 * scale, head);
  const context = canvas.getContext("2d");
  context.fillStyle = colour("card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = colour("text");
  context.font = `600 ${15 * scale}px system-ui, sans-serif`;
  context.fillText(title, 16 * scale, 28 * scale, canvas.width - 32 * scale);
  let top = head;
  for (const each of canvases) {
    context.drawImage(each, 16 * scale, top);
    top += each.height + 16 * scale;
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
