// The gateway's HTTP interface.

export class Problem extends Error {
  constructor({ type = "", title = "", status = 0, detail = "" }, retryAfter = null) {
    super(detail || title);
    this.kind = type.split("/").pop();
    this.title = title;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const UNREACHABLE = { title: "No connection", detail: "the gateway does not answer" };

function headers(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function checked(response) {
  if (response.ok) return response;
  let described;
  try {
    described = await response.json();
  } catch {
    described = { title: response.statusText, status: response.status };
  }
  throw new Problem(described, Number(response.headers.get("Retry-After")) || null);
}

async function send(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(UNREACHABLE);
  }
  return checked(response);
}

export async function about() {
  return (await send("v1/about")).json();
}

export async function sampleClip() {
  const blob = await (await send("sample.mp4")).blob();
  return new File([blob], "talking-head.mp4", { type: "video/mp4" });
}

export async function faces(id, token) {
  return (await send(`v1/jobs/${id}/faces`, { headers: headers(token) })).json();
}

// How much of a job is done, from 0 to 1; null where nobody knows.
export function share({ frames, windows, total_frames: total, step, steps }) {
  if (!total) return null;
  // A frame is read first and scored some time later; both are work.
  return (step - 1 + Math.min(1, (frames + windows) / (2 * total))) / steps;
}

// Scores a clip; see submit.
export function score(file, query, how) {
  return submit("v1/score", file, query, how);
}

// The repaired clip: { blob, name }; see submit.
export async function align(file, query, how) {
  const { id } = await submit("v1/align", file, query, how);
  const response = await send(`v1/jobs/${id}/file`, { headers: headers(how.token) });
  const disposition = response.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(disposition)?.[1];
  const plain = /filename="([^"]+)"/.exec(disposition)?.[1];
  const name = encoded ? decodeURIComponent(encoded) : plain ?? "in-sync.mp4";
  return { blob: await response.blob(), name };
}

// Sends a clip and follows its job. A fetch cannot tell how far an upload is; an XMLHttpRequest
// can, and lets the events be read while they come.
//   tell.upload(share) and tell.job(job) are called now and then; signal, if given, aborts.
// Returns { id, result }.
function submit(address, file, query, { token, tell, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const events = new EventParser();
    let id = null;
    let settled = false;
    const settle = (action, value) => {
      settled = true;
      action(value);
    };

    const read = () => {
      if (request.status !== 200) return;
      for (const { event, data } of events.push(request.responseText)) {
        if (event === "job") {
          id = data.id;
          tell.job(data);
        } else if (event === "result") settle(resolve, { id, result: data });
        else if (event === "problem") settle(reject, new Problem(data));
      }
    };

    request.open("POST", `${address}?${new URLSearchParams(query)}`);
    request.setRequestHeader("Accept", "text/event-stream");
    for (const [name, value] of Object.entries(headers(token))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) tell.upload(event.loaded / event.total);
    };
    request.onprogress = read;
    request.onload = () => {
      read();
      if (settled) return;
      let described = UNREACHABLE;
      try {
        described = JSON.parse(request.responseText);
      } catch {
        // the connection ended in the middle, or something between answered in its own words
      }
      reject(new Problem(described, Number(request.getResponseHeader("Retry-After")) || null));
    };
    request.onerror = () => reject(new Problem(UNREACHABLE));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());

    const body = new FormData();
    body.append("clip", file, file.name);
    request.send(body);
  });
}

// Server-sent events out of a text that grows.
class EventParser {
  #done = 0;

  *push(text) {
    for (;;) {
      const end = text.indexOf("\n\n", this.#done);
      if (end < 0) return;
      const lines = text.slice(this.#done, end).split("\n");
      this.#done = end + 2;
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length === 0) continue;
      const event = lines.find((line) => line.startsWith("event: "))?.slice(7);
      yield { event, data: JSON.parse(data.join("\n")) };
    }
  }
}
