// SMS through Vonage's SMS API: what the host calls. The rest is what it makes of it, and runs anywhere.

import { fetch } from 'wotp:channel/http';
import { log, secret } from 'wotp:channel/host';
import { reference, url } from 'wotp:channel/callback';
import { verify } from 'wotp:channel/signatures';

import { SCHEMA, problems, settings } from './config.js';
import { unanswered } from './errors.js';
import { received } from './receipt.js';
import { callback, request } from './request.js';
import { verdict } from './verdict.js';

export const delivery = {
  describe() {
    const use = (name, about, optional) => ({ name, about, places: { header: true }, optional });
    return {
      id: 'wotp.vonage-sms',
      name: 'Vonage SMS',
      version: '0.1.0',
      reaches: ['phone'],
      configSchema: JSON.stringify(SCHEMA),
      // The operator may have the API behind a host of their own.
      hosts: ['*'],
      secrets: [
        use('api_secret', 'The API secret of the key `api_key`, as the dashboard shows it.', false),
        use('signature_secret', 'The signature secret of the account, with which Vonage signs receipts.', true),
      ],
      // Vonage takes no key by which it would know a message again.
      idempotent: false,
    };
  },

  validate(config) {
    let found;
    try {
      found = problems(settings(config), (name) => secret(name) != null);
    } catch {
      // Whoever installs it sees that it stands what no schema allows.
      found = ['the settings are no object that the schema allows'];
    }
    if (found.length > 0) throw found;
  },

  deliver(message) {
    const config = settings(message.config);
    const mark = secret('api_secret');
    if (mark == null) throw { tag: 'misconfigured', val: 'the secret `api_secret` is not there' };
    const asked = request(message, config, mark, config.receipts ? told() : null);
    let response;
    try {
      response = fetch(asked);
    } catch (error) {
      throw unanswered(error.payload);
    }
    return verdict(response, config.currency);
  },
};

export const webhook = {
  receive(call) {
    return received(call, settings(call.config).api_key, (algorithm, data, signature) =>
      verify('signature_secret', 'secret', algorithm, data, signature),
    );
  },
};

/** Where Vonage is to tell of the message at hand, and by which name. */
function told() {
  const whole = url();
  const short = callback(whole);
  if (whole != null && short === null) log('warn', 'no receipt: Vonage takes URLs of 100 characters, and ours is longer');
  return short === null ? null : { url: short, reference: reference() };
}
