import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { test } from 'node:test';

import { bytes } from '../src/bytes.js';
import { received } from '../src/receipt.js';

const SECRET = 'signature-secret-of-ours';

// As the API reference shows a receipt, with what a signed one has besides.
const RECEIPT = {
  msisdn: '447700900000',
  to: 'Acme & Sons=1',
  'network-code': '12345',
  messageId: '0A0000001234567B',
  price: '0.03330000',
  status: 'delivered',
  scts: '2001011400',
  'err-code': '0',
  'api-key': 'abcd1234',
  'message-timestamp': '2020-01-01 12:00:00',
  timestamp: '1577880000',
  nonce: 'aaaaaaaa-bbbb-cccc-dddd-0123456789ab',
  'client-ref': 'reference-of-a-message',
};

// What the documentation has signed, in the words of its own example: sorted, `&name=value`, `_` for `&` and `=`.
function sign(fields, algorithm = 'sha256') {
  const data = Object.entries(fields)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `&${name}=${value.replaceAll('&', '_').replaceAll('=', '_')}`)
    .join('');
  return { ...fields, sig: createHmac(algorithm, SECRET).update(data).digest('hex') };
}

const holds = (algorithm, data, signature) => {
  const right = createHmac(algorithm.replace('hmac-', ''), SECRET).update(data).digest();
  return right.length === signature.length && timingSafeEqual(right, signature);
};

const URL = 'https://wotp.example/hooks/sms/status';
const form = (fields) => new URLSearchParams(fields).toString();
const posted = (body, kind) => ({
  method: 'post',
  url: URL,
  headers: [{ name: 'content-type', value: kind }],
  body: bytes(body),
});
const byForm = (fields) => posted(form(fields), 'application/x-www-form-urlencoded');
const byJson = (fields) => posted(JSON.stringify(fields), 'application/json; charset=utf-8');
const byQuery = (fields) => ({ method: 'get', url: `${URL}?${form(fields)}`, headers: [], body: bytes('') });

const hear = (call) => received(call, 'abcd1234', holds);

function refusal(call) {
  try {
    hear(call);
  } catch (error) {
    return error;
  }
  return assert.fail('it is taken');
}

test('what Vonage signed is news, in each way that it may tell it', () => {
  for (const how of [byForm, byJson, byQuery]) {
    for (const algorithm of ['sha256', 'sha1']) {
      assert.deepEqual(hear(how(sign(RECEIPT, algorithm))), [
        { reference: 'reference-of-a-message', fate: { tag: 'delivered' } },
      ]);
    }
  }
});

// `printf '%s' "$DATA" | openssl dgst -sha256 -hmac signature-secret-of-ours`, where DATA is
// &api-key=abcd1234&client-ref=r1&status=delivered&text=a_b_c
test('a signature is the one that openssl makes', () => {
  const fields = { status: 'delivered', 'client-ref': 'r1', 'api-key': 'abcd1234', text: 'a&b=c' };
  const sig = '9f85e1228bdd2bec33f3d35210382a4ea23b065c58a52a2f370347fea22f28d5';
  assert.deepEqual(hear(byForm({ ...fields, sig })), [{ reference: 'r1', fate: { tag: 'delivered' } }]);
  assert.deepEqual(hear(byForm({ ...fields, sig: sig.toUpperCase() })).length, 1);
});

test('how a message fares is read by status and code', () => {
  const fates = (more) => hear(byForm(sign({ ...RECEIPT, ...more }))).map((news) => news.fate);
  assert.deepEqual(fates({ status: 'expired' }), [{ tag: 'failed', val: 'unavailable' }]);
  for (const [code, val] of [
    ['1', 'unavailable'],
    ['3', 'invalid-recipient'],
    ['6', 'rejected'],
    ['12', 'invalid-recipient'],
    ['99', 'unavailable'],
    ['new', 'unavailable'],
  ]) {
    for (const status of ['failed', 'rejected']) {
      assert.deepEqual(fates({ status, 'err-code': code }), [{ tag: 'failed', val }], code);
    }
  }
  for (const status of ['accepted', 'buffered', 'unknown', 'something-new']) assert.deepEqual(fates({ status }), []);
});

test('what names no message of ours, or no state, is no news', () => {
  for (const more of [{ 'client-ref': '' }, { 'client-ref': 'a b' }, { 'client-ref': 'r'.repeat(81) }, { status: '' }]) {
    assert.deepEqual(hear(byForm(sign({ ...RECEIPT, ...more }))), []);
  }
});

test('what anybody else sends is not', () => {
  const good = sign(RECEIPT);
  for (const [call, words] of [
    [byForm(RECEIPT), /not signed/],
    [byForm({ ...good, status: 'failed' }), /another one/],
    [byForm({ ...good, more: 'x' }), /another one/],
    [byForm({ ...good, sig: '' }), /none of/],
    [byForm({ ...good, sig: 'x' }), /none of/],
    // Unkeyed MD5, which is Vonage's default.
    [byForm({ ...good, sig: '5d41402abc4b2a76b9719d911017c592' }), /chosen in the dashboard/],
    [byForm(sign({ ...RECEIPT, 'api-key': 'another1' })), /another account/],
    [posted('%', 'application/x-www-form-urlencoded'), /neither JSON nor a form/],
    [posted('[]', 'application/json'), /neither JSON nor a form/],
    [posted('{', 'application/json'), /neither JSON nor a form/],
    [posted('{"a":{"b":1}}', 'application/json'), /neither JSON nor a form/],
    [posted('{a}', 'application/json'), /neither JSON nor a form/],
    [{ ...posted('', 'application/json'), body: Uint8Array.of(0xff) }, /neither JSON nor a form/],
    [byQuery({}), /not signed/],
  ]) {
    const error = refusal(call);
    assert.equal(error.tag, 'not-authentic');
    assert.match(error.val, words);
  }
});
