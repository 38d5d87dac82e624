// The options of a score, as fields. The gateway says which there are.

import { element } from "./dom.js";

export class Options {
  #inputs = new Map();

  constructor(parent, described) {
    for (const option of described) {
      const id = `option-${option.name}`;
      const input = option.number
        ? element("input", {
            id,
            type: "number",
            step: option.whole ? 1 : "any",
            min: option.least,
            max: option.most,
            value: option.default,
          })
        : element("input", { id, type: "text", value: option.default, placeholder: option.form });
      input.setAttribute("aria-describedby", `${id}-help`);
      this.#inputs.set(option.name, { input, option });
      parent.append(
        element(
          "div",
          { class: "field" },
          element("label", { for: id }, option.name.replaceAll("_", " ")),
          input,
          element("small", { id: `${id}-help` }, option.help),
        ),
      );
    }
  }

  // Those that differ from what the gateway does by itself.
  get changed() {
    const query = {};
    for (const [name, { input, option }] of this.#inputs) {
      const value = input.value.trim();
      if (value !== "" && value !== String(option.default)) query[name] = value;
    }
    return query;
  }
}
