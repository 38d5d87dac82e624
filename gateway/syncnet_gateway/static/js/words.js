// Numbers and results in words.

export const FRAME_MS = 40;

export function signed(value, digits = 0) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "\u2212" : "+") + text;
}

export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${Number((bytes / 1e6).toFixed(1))} MB`;
}

export function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// What a result means: the words, and what stands behind them in brackets.
export function meaning(text) {
  const [, words, note] = /^(.*?)(?: \((.*)\))?$/.exec(text.replaceAll("+-", "\u00b1"));
  return { words, note: note ?? null };
}

// A word of a command line for a POSIX shell.
export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
