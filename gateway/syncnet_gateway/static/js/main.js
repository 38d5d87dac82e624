// Puts the page together.

import * as api from "./api.js";
import { element } from "./dom.js";
import { Options } from "./options.js";
import { Queue } from "./queue.js";
import { Result } from "./result.js";
import { duration, size } from "./words.js";

const at = (id) => document.getElementById(id);
const TOKEN = "syncnet-gateway-token";

function describeLimits({ max_bytes: bytes, max_duration_s: seconds }) {
  return `Any video with sound, up to ${size(bytes)} and ${duration(seconds)}. It is deleted when it has been scored.`;
}

async function start() {
  const about = await api.about();
  at("version").textContent = `version ${about.version}`;
  at("limits").textContent = describeLimits(about.limits);

  at("token-field").hidden = !about.token_needed;
  at("token").value = sessionStorage.getItem(TOKEN) ?? "";
  at("token-field").addEventListener("submit", (event) => event.preventDefault());
  at("token").addEventListener("input", () => sessionStorage.setItem(TOKEN, at("token").value));
  const token = () => (about.token_needed ? at("token").value : "");

  const options = new Options(at("option-fields"), about.options);
  let shown = null;
  const select = (entry, asked) => {
    if (shown && !asked && shown.viewer.playing) return false;
    shown?.close();
    shown = new Result(at("result"), entry, token);
    if (asked) at("result").scrollIntoView({ block: "nearest" });
    // For tests and for the curious.
    globalThis.syncnet = { result: shown, get sync() { return shown.viewer.sync; } };
    return true;
  };
  const queue = new Queue(at("queue"), { limits: about.limits, token, select });

  const add = (files) => {
    for (const file of files) queue.add(file, options.changed);
    if (files.length === 0) return;
    at("drop").classList.add("compact");
    at("intro").hidden = true;
  };
  at("files").addEventListener("change", () => {
    add([...at("files").files]);
    at("files").value = "";
  });
  at("sample").addEventListener("click", async () => add([await api.sampleClip()]));
  acceptDrops(add);
}

function acceptDrops(add) {
  const drop = at("drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
}

start().catch((error) => {
  at("main").prepend(element("p", { class: "notice", role: "alert" }, error.message));
});
