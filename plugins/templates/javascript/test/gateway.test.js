import assert from 'node:assert/strict';
import { test } from 'node:test';

import { request, unanswered, verdict } from '../src/gateway.js';

const answer = (status, body = '', headers = []) => ({ status, headers, body: new TextEncoder().encode(body) });

function refusal(response) {
  try {
    verdict(response);
  } catch (error) {
    return error;
  }
  return assert.fail('it is taken');
}

test('a message is asked for as the gateway wants it', () => {
  const message = { id: 'dlv_1', to: '+12025550123', text: 'קוד 482913' };
  const asked = request(message, { from: 'Acme' }, 'MARK');
  assert.equal(asked.headers[0].value, 'Bearer MARK');
  const { to, text } = JSON.parse(new TextDecoder().decode(asked.body));
  assert.deepEqual([to, text], [message.to, message.text]);
});

test('a message that the gateway took is sent', () => {
  assert.equal(verdict(answer(201, '{"id":"m-1"}')).providerId, 'm-1');
});

test('what the gateway refuses says why', () => {
  assert.equal(refusal(answer(422, '{"error":"unknown_number"}')).tag, 'invalid-recipient');
  assert.equal(refusal(answer(401)).tag, 'misconfigured');
  assert.equal(refusal(answer(400, '{"error":"text"}')).tag, 'rejected');
  assert.equal(refusal(answer(429)).val.seconds, 5);
  assert.equal(refusal(answer(429, '', [{ name: 'retry-after', value: '7' }])).val.seconds, 7);
  // It may have got out.
  assert.equal(refusal(answer(500)).tag, 'unknown');
  assert.equal(refusal(answer(200, 'taken')).tag, 'unknown');
});

test('a request that may have been sent is not sent again', () => {
  assert.equal(unanswered({ tag: 'unreachable', val: 'nobody there' }).tag, 'temporary');
  assert.equal(unanswered({ tag: 'denied', val: 'not approved' }).tag, 'misconfigured');
  for (const tag of ['timeout', 'too-large', 'broken']) assert.equal(unanswered({ tag }).tag, 'unknown');
});
