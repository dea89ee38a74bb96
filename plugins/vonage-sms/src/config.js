// What the operator writes about an account.

/** The schema of the settings. */
export const SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'An account at Vonage',
  type: 'object',
  additionalProperties: false,
  required: ['api_key', 'from'],
  properties: {
    api_key: {
      description: 'The API key, as the dashboard shows it: 8 letters and digits.',
      type: 'string',
      pattern: '^[0-9A-Za-z]{8}$',
    },
    from: {
      description: 'Who sends: a number of the account, or a name of up to 11 letters and digits where networks take one.',
      type: 'string',
      minLength: 1,
      maxLength: 16,
    },
    receipts: {
      description:
        "Whether Vonage is to tell how a message fares. Needs the secret `signature_secret`, the algorithm SHA-256 HMAC or SHA1 HMAC in the dashboard, and that Vonage's support switched signed webhooks on.",
      type: 'boolean',
      default: false,
    },
    currency: {
      description: 'The currency of the account, in which Vonage tells prices.',
      type: 'string',
      pattern: '^[A-Z]{3}$',
      default: 'EUR',
    },
    api: {
      description: 'Where the API is.',
      type: 'string',
      default: 'https://rest.nexmo.com',
    },
  },
};

const NUMBER = /^\+?[0-9]{3,15}$/;
// As networks take names of senders.
const NAME = /^(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}$/;

/** The settings, with what was left out. */
export function settings(config) {
  const defaults = Object.entries(SCHEMA.properties).filter(([, property]) => 'default' in property);
  return { ...Object.fromEntries(defaults.map(([name, property]) => [name, property.default])), ...JSON.parse(config) };
}

/** What is wrong with the settings, in sentences for the operator. `given` says whether there is a secret. */
export function problems(config, given) {
  const found = [];
  if (!NUMBER.test(config.from) && !NAME.test(config.from)) {
    found.push('`from` is neither a number of 3 to 15 digits nor a name of up to 11 letters, digits and spaces');
  }
  if (config.receipts && !given('signature_secret')) {
    found.push(
      'the secret `signature_secret` is not there, with which Vonage signs receipts; give it, or write `receipts = false`',
    );
  }
  if (!/^https?:\/\/[^/?#]+$/.test(config.api)) {
    found.push('`api` is scheme and host, as in `https://rest.nexmo.com`');
  }
  return found;
}
