import assert from 'node:assert/strict';
import { test } from 'node:test';

import { problems, settings } from '../src/config.js';
import { read } from '../src/form.js';
import { isGsm } from '../src/gsm.js';
import { callback, request } from '../src/request.js';
import { text } from '../src/bytes.js';

const CONFIG = settings('{"api_key":"abcd1234","from":"Acme"}');
const MESSAGE = { to: '+12025550123', text: '482913 is your code & more', expiresInSeconds: 300 };

const fields = (message, config = CONFIG, told = null) =>
  Object.fromEntries(read(text(request(message, config, 'MARK', told).body)));

test('a message is asked for as the documentation has it', () => {
  const asked = request(MESSAGE, CONFIG, 'MARK', null);
  assert.equal(asked.url, 'https://rest.nexmo.com/sms/json');
  assert.deepEqual(asked.headers[0], { name: 'authorization', value: 'Basic abcd1234:MARK' });
  assert.deepEqual(fields(MESSAGE), {
    from: 'Acme',
    to: '12025550123',
    text: MESSAGE.text,
    type: 'text',
    ttl: '300000',
  });
});

test('a number that sends is written without its plus', () => {
  assert.equal(fields(MESSAGE, { ...CONFIG, from: '+12025550100' }).from, '12025550100');
});

test('what an SMS has no letters for is sent as Unicode, whole', () => {
  for (const own of ['Your code: 1 € [a]', 'Üñ à', '']) assert.ok(isGsm(own), own);
  for (const other of ['קוד', '👩‍👩‍👧', 'ç', '`']) {
    assert.equal(fields({ ...MESSAGE, text: other }).type, 'unicode', other);
    assert.equal(fields({ ...MESSAGE, text: other }).text, other);
  }
});

test('Vonage tries no shorter and no longer than it can', () => {
  const ttl = (expiresInSeconds) => fields({ ...MESSAGE, expiresInSeconds }).ttl;
  assert.deepEqual([ttl(0), ttl(60), ttl(4_294_967_295)], ['20000', '60000', '604800000']);
});

test('one URL is called for all messages, and each is named by what is signed', () => {
  const url = callback(`https://wotp.example/hooks/sms/${'r'.repeat(66)}`);
  assert.equal(url, 'https://wotp.example/hooks/sms/status');
  const sent = fields(MESSAGE, CONFIG, { url, reference: 'ref' });
  assert.deepEqual([sent.callback, sent['client-ref']], [url, 'ref']);
  assert.equal(callback(null), null);
  assert.equal(callback(`https://${'w'.repeat(90)}.example/hooks/sms/r`), null);
});

test('settings that do not hold are told in sentences', () => {
  const found = (more, given = []) => problems({ ...CONFIG, ...more }, (name) => given.includes(name));
  for (const from of ['Acme', 'Acme 24', '12345', '+12025550100', '447700900000']) assert.deepEqual(found({ from }), []);
  for (const from of ['', 'Acme & Sons', 'Longer than 11', '12', '+1 202']) {
    assert.match(found({ from }).join(), /neither a number/, from);
  }
  assert.match(found({ receipts: true }).join(), /`signature_secret` is not there/);
  assert.deepEqual(found({ receipts: true }, ['signature_secret']), []);
  for (const api of ['https://a.example/', 'https://a.example?x', 'a.example']) {
    assert.match(found({ api }).join(), /scheme and host/, api);
  }
});
