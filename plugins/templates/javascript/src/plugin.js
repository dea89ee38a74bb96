// What the host calls. The rest is in gateway.js, which runs anywhere.

import { fetch } from 'wotp:channel/http';
import { secret } from 'wotp:channel/host';

import { HOST, SCHEMA, request, unanswered, verdict } from './gateway.js';

export const delivery = {
  describe() {
    return {
      id: 'example.{{name}}',
      name: '{{name}}',
      version: '0.1.0',
      reaches: ['phone'],
      configSchema: JSON.stringify(SCHEMA),
      hosts: [HOST],
      secrets: [
        {
          name: 'token',
          about: "The API token from your account's page.",
          places: { header: true },
          optional: false,
        },
      ],
      // Only where the provider takes one `message.id` for one message, however often it is sent.
      idempotent: false,
    };
  },

  validate(_config) {
    // What the schema cannot say. Throw sentences for the operator: `throw ['…']`.
  },

  deliver(message) {
    // A mark: the host puts the secret in its place on the way out, and the plugin never sees it.
    const token = secret('token') ?? '';
    const asked = request(message, JSON.parse(message.config), token);
    let response;
    try {
      response = fetch(asked);
    } catch (error) {
      // What the contract says that it was.
      throw unanswered(error.payload);
    }
    return verdict(response);
  },
};
