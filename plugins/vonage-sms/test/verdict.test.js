import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bytes } from '../src/bytes.js';
import { unanswered } from '../src/errors.js';
import { verdict } from '../src/verdict.js';

const answer = (body, status = 200, headers = []) => ({ status, headers, body: bytes(body) });

// As the API reference shows it.
const PART = {
  to: '447700900000',
  'message-id': 'aaaaaaaa-bbbb-cccc-dddd-0123456789ab',
  status: '0',
  'remaining-balance': '3.14159265',
  'message-price': '0.03330000',
  network: '12345',
};
const parts = (...all) => answer(JSON.stringify({ 'message-count': String(all.length), messages: all }));

function refusal(response) {
  try {
    verdict(response, 'EUR');
  } catch (error) {
    return error;
  }
  return assert.fail('it is taken');
}

test('what Vonage took is sent, under its name, with what it costs', () => {
  assert.deepEqual(verdict(parts(PART), 'EUR'), {
    providerId: PART['message-id'],
    progress: 'sent',
    cost: { micros: 33_300, currency: 'EUR' },
  });
});

test('all parts of a long text cost', () => {
  assert.equal(verdict(parts(PART, { ...PART, 'message-id': 'b' }, PART), 'EUR').cost.micros, 99_900);
});

test('a price that is none is not told', () => {
  for (const price of [undefined, '', 'free', '-1', '1e9']) {
    assert.equal(verdict(parts({ ...PART, 'message-price': price }), 'EUR').cost, null, price);
  }
});

test('each status says what happens next', () => {
  const tags = {
    temporary: ['1', '10'],
    'invalid-recipient': ['6', '33'],
    misconfigured: ['4', '8', '9', '11', '14', '15', '23', '29', '32'],
    unknown: ['5'],
    rejected: ['2', '3', '7', '12', '17', '22', '99', 'new'],
  };
  for (const [tag, all] of Object.entries(tags)) {
    for (const status of all) {
      const error = refusal(parts({ status, 'error-text': 'Missing to param' }));
      assert.equal(error.tag, tag, status);
      assert.match(JSON.stringify(error.val), new RegExp(`status ${status}: Missing to param`));
    }
  }
  assert.equal(refusal(parts({ status: '1' })).val.seconds, 2);
});

test('a message of which a part got out is of unknown outcome', () => {
  assert.equal(refusal(parts(PART, { status: '9', 'error-text': 'Quota Exceeded' })).tag, 'unknown');
});

test('an answer that is none is read by its HTTP status', () => {
  for (const [status, tag] of [
    [200, 'unknown'],
    [302, 'rejected'],
    [401, 'misconfigured'],
    [404, 'rejected'],
    [429, 'temporary'],
    [500, 'unknown'],
    [503, 'temporary'],
  ]) {
    for (const body of ['', '<html>', '{"messages":[]}', '{"messages":"x"}', 'null', '\u{ff}']) {
      assert.equal(refusal(answer(body, status)).tag, tag, `${status} ${body}`);
    }
  }
  const later = (value) => refusal(answer('', 429, [{ name: 'retry-after', value }])).val.seconds;
  assert.deepEqual([later('7'), later('0'), later('99999'), later('soon')], [7, 1, 3600, 5]);
});

test('only a request that was not sent is tried again', () => {
  const tag = (error) => unanswered(error).tag;
  assert.equal(tag({ tag: 'denied', val: 'x' }), 'misconfigured');
  assert.equal(tag({ tag: 'unreachable', val: 'x' }), 'temporary');
  for (const lost of ['timeout', 'too-large', 'broken']) assert.equal(tag({ tag: lost }), 'unknown');
});
