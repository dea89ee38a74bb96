// Text and bytes. The engine that plugins run in has no TextEncoder.

// Longest body that is read as text, in bytes: a receipt of Vonage's has some hundred, and so has each part of an answer.
// Anybody can send a longer one, and reading 64 KiB takes a quarter of the time that there is.
const READ_MAX = 16 * 1024;

/** The bytes of a text in UTF-8. */
export function bytes(text) {
  const encoded = unescape(encodeURIComponent(text));
  const all = new Uint8Array(encoded.length);
  for (let at = 0; at < all.length; at += 1) all[at] = encoded.charCodeAt(at);
  return all;
}

/** The text that bytes in UTF-8 are; null where they are none, or too many. */
export function text(body) {
  if (body.length > READ_MAX) return null;
  let latin = '';
  // Not all at once: arguments lie on the stack.
  for (let at = 0; at < body.length; at += 1024) latin += String.fromCharCode(...body.subarray(at, at + 1024));
  try {
    return decodeURIComponent(escape(latin));
  } catch {
    return null;
  }
}

/** What bytes say as JSON; null where they say nothing. */
export function json(body) {
  try {
    return JSON.parse(text(body));
  } catch {
    return null;
  }
}

/** The bytes that pairs of hexadecimal digits stand for; null where they stand for none. */
export function unhex(digits) {
  if (!/^([0-9A-Fa-f]{2})+$/.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g), (pair) => Number.parseInt(pair, 16));
}
