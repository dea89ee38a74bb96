// What Vonage tells later. Source: developer.vonage.com/en/messaging/sms/guides/delivery-receipts and
// developer.vonage.com/en/getting-started/concepts/signing-messages.

import { bytes, json, text, unhex } from './bytes.js';
import { undelivered } from './errors.js';
import { read } from './form.js';

// Bytes of the signatures that can be verified. Vonage knows others, of which an unkeyed MD5 is its default.
const ALGORITHMS = { 20: 'hmac-sha1', 32: 'hmac-sha256' };
const FLAT = /^\s*\{[^{}[\]]*\}\s*$/;
const REFERENCE = /^[A-Za-z0-9_-]{1,80}$/;

/** What a call of Vonage's tells. `holds` says whether a signature is the right one for some data. */
export function received(call, apiKey, holds) {
  const notAuthentic = (why) => ({ tag: 'not-authentic', val: why });
  const fields = told(call);
  if (fields === null) throw notAuthentic('what it tells is neither JSON nor a form');
  const sig = fields.get('sig');
  if (sig === undefined) throw notAuthentic("it is not signed; Vonage's support switches that on");
  const signature = unhex(sig);
  const algorithm = ALGORITHMS[signature?.length];
  if (algorithm === undefined) {
    throw notAuthentic('its signature is none of SHA-256 HMAC or SHA1 HMAC, one of which is to be chosen in the dashboard');
  }
  fields.delete('sig');
  if (!holds(algorithm, bytes(signed(fields)), signature)) throw notAuthentic('its signature is another one');
  if ((fields.get('api-key') ?? apiKey) !== apiKey) throw notAuthentic('it is of another account');
  const reference = fields.get('client-ref') ?? '';
  const found = fate(fields.get('status'), fields.get('err-code'));
  return found === null || !REFERENCE.test(reference) ? [] : [{ reference, fate: found }];
}

/** The parameters of a call, in whichever of its three ways the dashboard has Vonage tell them. */
function told(call) {
  if (call.method === 'get') {
    const at = call.url.indexOf('?');
    return read(at < 0 ? '' : call.url.slice(at + 1));
  }
  const kind = call.headers.find((header) => header.name === 'content-type')?.value ?? '';
  if (/^application\/json\b/i.test(kind)) {
    // Anybody can send what is nested so deep that reading it crashes; what Vonage sends is flat.
    const said = FLAT.test(text(call.body)) ? json(call.body) : null;
    if (said === null) return null;
    return new Map(Object.entries(said).map(([name, value]) => [name, String(value ?? '')]));
  }
  const form = text(call.body);
  return form === null ? null : read(form);
}

/** What is signed: all parameters in the order of their names, and `_` for what would part them. */
function signed(fields) {
  const names = Array.from(fields.keys()).sort();
  return names.map((name) => `&${name}=${fields.get(name).replace(/[&=]/g, '_')}`).join('');
}

function fate(status, code) {
  switch (status) {
    case 'delivered':
      return { tag: 'delivered' };
    case 'expired':
      return { tag: 'failed', val: 'unavailable' };
    case 'failed':
    case 'rejected':
      return { tag: 'failed', val: undelivered(code) };
    // `accepted`, `buffered`: what was known when it was taken. `unknown`, and whatever comes to be: no news.
    default:
      return null;
  }
}
