"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const clips = data.clips;
  const byId = (id) => document.getElementById(id);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const scored = clips.filter((clip) => clip.ok);
  const charts = [];

  // Worst first: what failed, what is not trusted, then by how far it is off.
  for (const clip of clips) {
    clip.rank = !clip.ok ? -2 : !clip.trusted ? -1 + clip.agreement / 10 : 1 / (1 + Math.abs(clip.offset_frames));
  }

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in made) made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  };
  const fixed = (value, digits) => (value === undefined ? "" : value.toFixed(digits));
  const signed = (value) => (value > 0 ? `+${value}` : `${value}`);

  function summarize() {
    document.title = byId("title").textContent = data.title;
    byId("version").textContent = data.version;
    byId("note").textContent = data.note;
    byId("note").hidden = data.note === "";
    const common = Object.entries(data.common).filter(([, values]) => values.length);
    byId("common").textContent = common
      .map(([name, values]) => `${name.replace("_", " ")}: ${values.join(" | ")}`).join(" · ");
    const trusted = scored.filter((clip) => clip.trusted);
    const close = trusted.filter((clip) => Math.abs(clip.offset_frames) <= 1);
    const tiles = {
      clips: clips.length, scored: scored.length, failed: clips.length - scored.length,
      trusted: trusted.length, "trusted and within 1 frame": close.length,
    };
    byId("summary").append(...Object.entries(tiles).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, `${value}`))));
    const reasons = new Map();
    for (const clip of clips) {
      if (!clip.ok) reasons.set(clip.error_type, (reasons.get(clip.error_type) || 0) + 1);
    }
    byId("failures").textContent = reasons.size
      ? `Failed: ${[...reasons].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${name} ${count}`).join(", ")}` : "";
  }

  // One look for all charts, made anew when the scheme of the system changes.
  function axis(title, more = {}) {
    return {
      title: { display: true, text: title, color: colour("quiet") },
      ticks: { color: colour("quiet") }, grid: { color: colour("line") }, ...more,
    };
  }
  function draw(canvas, configuration) {
    const old = Chart.getChart(canvas);
    if (old) old.destroy();
    configuration.options = {
      animation: false, responsive: true, maintainAspectRatio: false, ...configuration.options,
      plugins: { legend: { display: false }, ...(configuration.options || {}).plugins },
    };
    return new Chart(canvas, configuration);
  }
  function histogram(canvas, values, edges, title) {
    const inside = (low, high) => (value) => value >= low && value < high;
    const counts = edges.slice(0, -1).map((low, k) => values.filter(inside(low, edges[k + 1])).length);
    const step = edges[1] - edges[0];
    return draw(canvas, {
      type: "bar",
      data: {
        labels: edges.slice(0, -1).map((low) => (step === 1 && low % 1 ? Math.round(low + 0.5) : +low.toFixed(2))),
        datasets: [{ data: counts, backgroundColor: colour("accent"), barPercentage: 1, categoryPercentage: 0.92 }],
      },
      options: { scales: { x: axis(title), y: axis("clips", { beginAtZero: true }) } },
    });
  }
  function range(low, high, step) {
    return Array.from({ length: Math.round((high - low) / step) + 1 }, (_, k) => low + k * step);
  }
  function overview() {
    charts.splice(0).forEach((chart) => chart.destroy());
    const offsets = scored.map((clip) => clip.offset_frames);
    const reach = Math.max(5, ...offsets.map(Math.abs));
    charts.push(histogram(byId("offsets"), offsets, range(-reach - 0.5, reach + 0.5, 1), "offset (frames)"));
    const confidences = scored.map((clip) => clip.confidence);
    const top = Math.max(4, Math.ceil(Math.max(0, ...confidences) + 0.01));
    charts.push(histogram(byId("confidences"), confidences, range(0, top, top / 20), "confidence"));
    const point = (clip) => ({ x: clip.offset_frames, y: clip.agreement, clip });
    const chosen = limits();
    charts.push(draw(byId("scatter"), {
      type: "scatter",
      data: { datasets: [
        { label: "selected", data: scored.filter(selected).map(point), backgroundColor: colour("accent"), pointRadius: 4 },
        { label: "not selected", data: scored.filter((clip) => !selected(clip)).map(point), borderColor: colour("bad"),
          backgroundColor: "transparent", pointStyle: "triangle", pointRadius: 5 },
        { label: "threshold", type: "line", data: [-reach - 1, reach + 1].map((x) => ({ x, y: chosen.agreement })),
          borderColor: colour("quiet"), borderDash: [6, 4], pointRadius: 0, borderWidth: 1.5 },
      ] },
      options: {
        scales: { x: axis("offset (frames)", { min: -reach - 1, max: reach + 1 }), y: axis("agreement", { min: 0, max: 1.02 }) },
        plugins: {
          legend: { display: true, labels: { color: colour("text"), usePointStyle: true } },
          tooltip: { callbacks: { label: (item) => item.raw.clip
            ? `${item.raw.clip.clip}: ${signed(item.raw.x)} frames, agreement ${fixed(item.raw.y, 2)}` : "threshold" } },
        },
        onClick: (_, found) => {
          const raw = found.length && charts[2].data.datasets[found[0].datasetIndex].data[found[0].index];
          if (raw && raw.clip) show(raw.clip);
        },
      },
    }));
  }

  const sliders = { agreement: byId("agreement"), confidence: byId("confidence"), offset: byId("offset") };
  function limits() {
    return Object.fromEntries(Object.entries(sliders).map(([name, input]) => [name, Number(input.value)]));
  }
  function selected(clip) {
    const chosen = limits();
    return clip.ok && clip.agreement >= chosen.agreement && clip.confidence >= chosen.confidence &&
      Math.abs(clip.offset_frames) <= chosen.offset;
  }
  function found(clip) {
    const wanted = byId("search").value.toLowerCase();
    return [clip.clip, clip.reasons, clip.error, clip.drift].some((text) => (text || "").toLowerCase().includes(wanted));
  }

  let order = { key: "rank", down: false };
  let rows = new Map();
  function compare(a, b) {
    const [x, y] = [a[order.key], b[order.key]];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const result = typeof x === "string" ? x.localeCompare(y) : x - y;
    return order.down ? -result : result;
  }
  function verdict(clip) {
    if (!clip.ok) return element("span", { className: "failed" }, "failed");
    return element("span", { className: clip.trusted ? "trusted" : "untrusted" }, clip.trusted ? "trusted" : "not to be trusted");
  }
  function row(clip) {
    const picture = clip.face
      ? element("img", { src: `data:image/jpeg;base64,${clip.face}`, alt: "", loading: "lazy" }) : element("span", { className: "none" });
    const more = element("button", { type: "button", "aria-expanded": "false" }, "details");
    more.setAttribute("aria-label", `Details of ${clip.clip}`);
    more.addEventListener("click", () => toggle(clip));
    const offset = clip.ok && !clip.trusted ? `(${signed(clip.offset_frames)})` : clip.ok ? signed(clip.offset_frames) : "";
    const made = element("tr", {},
      element("td", {}, picture), element("td", { className: "name" }, clip.clip), element("td", {}, verdict(clip)),
      element("td", { className: "number" }, offset), element("td", { className: "number" }, fixed(clip.agreement, 2)),
      element("td", { className: "number" }, fixed(clip.confidence, 2)),
      element("td", { className: "number" }, fixed(clip.min_distance, 2)), element("td", {}, more));
    return { made, more, detail: null };
  }
  function table() {
    const only = byId("only").checked;
    const shown = clips.filter((clip) => found(clip) && (!only || selected(clip))).sort(compare);
    byId("rows").replaceChildren(...shown.flatMap((clip) => {
      if (!rows.has(clip)) rows.set(clip, row(clip));
      const { made, detail } = rows.get(clip);
      made.classList.toggle("out", !selected(clip));
      return detail ? [made, detail] : [made];
    }));
  }
  function toggle(clip) {
    const entry = rows.get(clip);
    const open = entry.detail === null;
    entry.more.setAttribute("aria-expanded", `${open}`);
    if (!open) {
      entry.detail.querySelectorAll("canvas").forEach((canvas) => Chart.getChart(canvas)?.destroy());
      entry.detail.remove();
      entry.detail = null;
      return;
    }
    entry.detail = detail(clip);
    entry.made.after(entry.detail);
    details(clip, entry.detail);
  }
  function show(clip) {
    byId("search").value = "";
    byId("only").checked = false;
    table();
    if (rows.get(clip).detail === null) toggle(clip);
    rows.get(clip).made.scrollIntoView({ block: "center" });
    rows.get(clip).more.focus();
  }
  function detail(clip) {
    const cell = element("td", { colSpan: 8, className: "detail" });
    const lines = [];
    if (clip.error) lines.push(clip.error);
    if (clip.ok) {
      lines.push(`Offset ${signed(clip.offset_ms)} ms` + (clip.offset_low_ms === undefined ? "" :
        `, between ${fixed(clip.offset_low_ms, 0)} and ${fixed(clip.offset_high_ms, 0)} ms in 95 % of the draws`) +
        `; ${fixed(clip.duration_s, 1)} s, ${clip.faces} ${clip.faces === 1 ? "face" : "faces"}, searched ${clip.vshift} frames to each side.`);
    }
    if (clip.reasons) lines.push(`Not to be trusted: ${clip.reasons}.`);
    if (clip.drift && clip.drift !== "constant") lines.push(`Drift: ${clip.drift}.`);
    if (clip.warnings) lines.push(`Warnings: ${clip.warnings}.`);
    cell.append(...lines.map((line) => element("p", {}, line)));
    const figure = (name, caption) => element("figure", {}, element("figcaption", {}, caption),
      element("div", { className: "chart" }, element("canvas", { className: name, role: "img", "aria-label": `${caption} of ${clip.clip}` })));
    const figures = element("div", { className: "charts" });
    if (clip.curve) figures.append(figure("curve", "Distance at every offset"));
    if (clip.over_time) figures.append(figure("time", "Confidence over time"));
    if (figures.childElementCount) cell.append(figures);
    if (clip.repair) cell.append(element("p", {}, "Put it in sync:"), element("code", {}, clip.repair));
    return element("tr", {}, cell);
  }
  function details(clip, inside) {
    const line = (values, x) => ({ datasets: [{ data: values.map((y, k) => ({ x: x(k), y })), borderColor: colour("accent"),
      backgroundColor: colour("accent"), pointRadius: 2, borderWidth: 1.5 }] });
    const reach = clip.curve ? (clip.curve.length - 1) / 2 : 0;
    const options = (x, y) => ({ scales: { x: { type: "linear", ...axis(x) }, y: axis(y) } });
    const curve = inside.querySelector("canvas.curve");
    if (curve) draw(curve, { type: "line", data: line([...clip.curve].reverse(), (k) => k - reach), options: options("offset (frames)", "distance") });
    const time = inside.querySelector("canvas.time");
    if (time) {
      const [first, last] = clip.times;
      const step = (last - first) / Math.max(1, clip.over_time.length - 1);
      draw(time, { type: "line", data: line(clip.over_time, (k) => first + k * step), options: options("time (s)", "confidence") });
    }
  }

  function follow() {
    byId("agreement-value").textContent = Number(sliders.agreement.value).toFixed(2);
    byId("confidence-value").textContent = Number(sliders.confidence.value).toFixed(1);
    byId("offset-value").textContent = sliders.offset.value;
    byId("count").textContent = `${clips.filter(selected).length} of ${clips.length} clips selected.`;
    overview();
    table();
  }
  function csv() {
    const names = ["clip", "offset_frames", "offset_ms", "agreement", "confidence", "min_distance", "trusted"];
    const quote = (value) => (/[",\n]/.test(`${value}`) ? `"${`${value}`.replaceAll('"', '""')}"` : `${value}`);
    const lines = clips.filter(selected).map((clip) => names.map((name) => quote(clip[name] ?? "")).join(","));
    return [names.join(","), ...lines, ""].join("\n");
  }
  async function copy() {
    const text = clips.filter(selected).map((clip) => clip.clip).join("\n");
    try {
      await navigator.clipboard.writeText(text);
    } catch { // pages from disk may lack the clipboard
      const area = element("textarea", { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    byId("count").textContent = `${clips.filter(selected).length} names copied.`;
  }
  function save() {
    const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    element("a", { href: address, download: "selected.csv" }).click();
    URL.revokeObjectURL(address);
  }

  sliders.agreement.value = data.min_agreement;
  sliders.confidence.max = Math.max(5, ...scored.map((clip) => Math.ceil(clip.confidence)));
  sliders.offset.max = sliders.offset.value = Math.max(1, ...scored.map((clip) => Math.abs(clip.offset_frames)));
  summarize();
  follow();
  byId("thresholds").addEventListener("submit", (event) => event.preventDefault());
  for (const input of Object.values(sliders)) input.addEventListener("input", follow);
  byId("search").addEventListener("input", table);
  byId("only").addEventListener("change", table);
  byId("copy").addEventListener("click", copy);
  byId("save").addEventListener("click", save);
  document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
    order = { key: button.dataset.key, down: order.key === button.dataset.key && !order.down };
    document.querySelectorAll("th[aria-sort]").forEach((head) => head.setAttribute("aria-sort", "none"));
    button.parentElement.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    table();
  }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    overview();
    for (const [clip, entry] of rows) if (entry.detail) details(clip, entry.detail);
  });
})();
