// The request for a message. Source: developer.vonage.com/en/api/sms, version 1.5.1.

import { bytes } from './bytes.js';
import { written } from './form.js';
import { isGsm } from './gsm.js';

// How long Vonage may try, in milliseconds: its own bounds.
const TTL_MIN = 20_000;
const TTL_MAX = 604_800_000;
// Longest URL that Vonage calls, in characters.
const CALLBACK_MAX = 100;

/**
 * Where Vonage is to tell how messages fare: one URL for all, since one with the reference of a message behind it would
 * be longer than Vonage takes. Null where even that is too long, or nobody said where the installation can be reached.
 */
export function callback(url) {
  if (url == null) return null;
  const whole = `${url.slice(0, url.lastIndexOf('/'))}/status`;
  return whole.length <= CALLBACK_MAX ? whole : null;
}

/** The request for `message`. `told` is where Vonage tells of it, and by which name; null where it is not to tell. */
export function request(message, config, secret, told) {
  // A code that nobody can use any more is not to arrive.
  const ttl = Math.min(Math.max(message.expiresInSeconds * 1000, TTL_MIN), TTL_MAX);
  const fields = [
    // Vonage writes numbers in E.164 without the `+`.
    ['from', /^\+[0-9]+$/.test(config.from) ? config.from.slice(1) : config.from],
    ['to', message.to.replace('+', '')],
    ['text', message.text],
    ['type', isGsm(message.text) ? 'text' : 'unicode'],
    ['ttl', String(ttl)],
  ];
  // The name comes back among what is signed, which the URL is not.
  if (told !== null) fields.push(['callback', told.url], ['client-ref', told.reference]);
  return {
    method: 'post',
    url: `${config.api}/sms/json`,
    headers: [
      // The host encodes it, with the secret in its place.
      { name: 'authorization', value: `Basic ${config.api_key}:${secret}` },
      { name: 'content-type', value: 'application/x-www-form-urlencoded' },
    ],
    body: bytes(written(fields)),
    timeoutMilliseconds: 0,
  };
}
