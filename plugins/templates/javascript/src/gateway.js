// SMS through the gateway of {{name}}: `POST https://api.example.com/v1/messages`, which answers 201 and `{"id": "…"}`.
// Make it your provider's: host, settings, request, and what its answers mean.

export const HOST = 'api.example.com';

// What operators may set: JSON Schema 2020-12. The host holds settings against it before they come here.
export const SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  additionalProperties: false,
  required: ['from'],
  properties: {
    from: {
      title: 'Sender',
      description: 'The name or number that people see.',
      type: 'string',
      minLength: 1,
      maxLength: 20,
    },
  },
};

// How long to wait where the gateway does not say, in seconds.
const BUSY_SECONDS = 5;

/** The request for a message. */
export function request(message, config, token) {
  const body = { from: config.from, to: message.to, text: message.text, reference: message.id };
  return {
    method: 'post',
    url: `https://${HOST}/v1/messages`,
    headers: [
      { name: 'authorization', value: `Bearer ${token}` },
      { name: 'content-type', value: 'application/json' },
    ],
    body: bytes(JSON.stringify(body)),
    // As long as there is.
    timeoutMilliseconds: 0,
  };
}

/**
 * What an answer means for the message. What no rule here takes is not known to have failed: better that another channel
 * takes the message than that nobody does.
 */
export function verdict(response) {
  const said = json(response.body);
  const error = said?.error;
  const why = `HTTP ${response.status} ${error ?? ''}`;
  const { status } = response;
  if (status >= 200 && status < 300) {
    if (typeof said?.id === 'string') return { providerId: said.id, progress: 'sent', cost: null };
    throw { tag: 'unknown', val: `${why}without the \`id\` of a message` };
  }
  if (error === 'unknown_number') throw { tag: 'invalid-recipient', val: why };
  if (status === 401 || status === 403) throw { tag: 'misconfigured', val: why };
  if (status === 429 || status === 503) throw { tag: 'temporary', val: { detail: why, seconds: pause(response) } };
  if (status >= 400 && status < 500) throw { tag: 'rejected', val: why };
  throw { tag: 'unknown', val: why };
}

/** What it means for a message that its request had no answer. One that may have been sent is of unknown outcome. */
export function unanswered(error) {
  if (error.tag === 'denied') return { tag: 'misconfigured', val: error.val };
  if (error.tag === 'unreachable') return { tag: 'temporary', val: { detail: error.val, seconds: BUSY_SECONDS } };
  return { tag: 'unknown', val: `the gateway gave no answer: ${error.tag}` };
}

function pause(response) {
  const asked = response.headers.find((header) => header.name === 'retry-after')?.value ?? '';
  return /^[0-9]{1,9}$/.test(asked) ? Math.min(Math.max(Number(asked), 1), 3600) : BUSY_SECONDS;
}

// The engine that plugins run in has no TextEncoder and no TextDecoder.
function bytes(text) {
  const encoded = unescape(encodeURIComponent(text));
  const all = new Uint8Array(encoded.length);
  for (let at = 0; at < all.length; at += 1) all[at] = encoded.charCodeAt(at);
  return all;
}

function json(body) {
  // Longer ones take long to read, and no gateway's is.
  if (body.length > 64 * 1024) return null;
  let latin = '';
  // Not all at once: arguments lie on the stack.
  for (let at = 0; at < body.length; at += 1024) latin += String.fromCharCode(...body.subarray(at, at + 1024));
  try {
    return JSON.parse(decodeURIComponent(escape(latin)));
  } catch {
    return null;
  }
}
