// What an answer means. Source: developer.vonage.com/en/api/sms, version 1.5.1.

import { json } from './bytes.js';
import { failed, refused } from './errors.js';

/** The receipt that an answer is. Throws what went wrong otherwise. */
export function verdict(response, currency) {
  const parts = json(response.body)?.messages;
  if (!Array.isArray(parts) || parts.length === 0) {
    throw failed(response.status, response.headers.find((header) => header.name === 'retry-after')?.value);
  }
  const bad = parts.find((part) => part.status !== '0');
  if (bad !== undefined) {
    if (parts.every((part) => part.status !== '0')) throw refused(String(bad.status), String(bad['error-text'] ?? ''));
    // The code may stand in a part that got out.
    throw { tag: 'unknown', val: `Vonage took some parts of the message, and others not: status ${bad.status}` };
  }
  return {
    providerId: typeof parts[0]['message-id'] === 'string' ? parts[0]['message-id'] : null,
    progress: 'sent',
    cost: cost(parts, currency),
  };
}

/** What all parts cost together; null unless Vonage says so of each. */
function cost(parts, currency) {
  const prices = parts.map((part) => String(part['message-price'] ?? ''));
  if (!prices.every((price) => /^[0-9]+(\.[0-9]+)?$/.test(price))) return null;
  const micros = prices.reduce((sum, price) => sum + Math.round(Number(price) * 1e6), 0);
  return { micros, currency };
}
