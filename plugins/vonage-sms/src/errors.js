// What Vonage's codes mean. Source: developer.vonage.com/en/api-errors/sms, and
// developer.vonage.com/en/messaging/sms/guides/delivery-receipts for those of receipts.

// How long to wait when Vonage asks to and does not say how long, in seconds. An account's limit is per second.
const THROTTLED_SECONDS = 2;
const BUSY_SECONDS = 5;
// Characters of Vonage's own words that are told.
const WORDS_MAX = 120;

/** What a status of a message means that is not 0. */
export function refused(status, words) {
  const said = `Vonage answered with status ${status}${words ? `: ${words.slice(0, WORDS_MAX)}` : ''}`;
  switch (status) {
    // Faster than the account may, or too many connections.
    case '1':
      return { tag: 'temporary', val: { detail: said, seconds: THROTTLED_SECONDS } };
    case '10':
      return { tag: 'temporary', val: { detail: said, seconds: BUSY_SECONDS } };
    // Nobody knows a prefix like this; or the number was given up.
    case '6':
    case '33':
      return { tag: 'invalid-recipient', val: said };
    // Credentials; the account is barred, has no money, may not use this API, or signs what it may not; a sender that is
    // not the account's; a URL for receipts that Vonage does not take; an account that is still being tried out.
    case '4':
    case '8':
    case '9':
    case '11':
    case '14':
    case '15':
    case '23':
    case '29':
    case '32':
      return { tag: 'misconfigured', val: said };
    // It failed while it had the message: nobody knows how far it got.
    case '5':
      return { tag: 'unknown', val: said };
    // A parameter is missing or wrong, the number is barred, the text too long, or a network does not want it.
    default:
      return { tag: 'rejected', val: said };
  }
}

/** What an HTTP status means that came without a message. */
export function failed(status, retryAfter) {
  const said = `Vonage answered with HTTP ${status}`;
  if (status === 429 || status === 503) {
    const asked = /^[0-9]{1,9}$/.test(retryAfter ?? '') ? Number(retryAfter) : BUSY_SECONDS;
    return { tag: 'temporary', val: { detail: said, seconds: Math.min(Math.max(asked, 1), 3600) } };
  }
  if (status === 401 || status === 403) return { tag: 'misconfigured', val: said };
  // It may have had the message, and what came instead of an answer does not say.
  if (status >= 500 || status < 300) return { tag: 'unknown', val: said };
  return { tag: 'rejected', val: said };
}

/** Why a message failed that Vonage had taken. */
export function undelivered(code) {
  switch (code) {
    // The number is not in use any more, or there is no way to it.
    case '3':
    case '12':
      return 'invalid-recipient';
    // Barred by the person, taken for spam, opted out, malformed, too young, or blocked by the network.
    case '4':
    case '6':
    case '9':
    case '10':
    case '13':
    case '14':
      return 'rejected';
    // Off, busy, out of reach, without credit, or nobody says.
    default:
      return 'unavailable';
  }
}

/** What it means for a message that its request had no answer. One that may have been sent is of unknown outcome. */
export function unanswered(error) {
  switch (error.tag) {
    case 'denied':
      return { tag: 'misconfigured', val: error.val };
    case 'unreachable':
      return { tag: 'temporary', val: { detail: error.val, seconds: BUSY_SECONDS } };
    case 'timeout':
      return { tag: 'unknown', val: 'Vonage did not answer in time' };
    case 'too-large':
      return { tag: 'unknown', val: 'the answer is too large' };
    default:
      return { tag: 'unknown', val: 'the connection to Vonage broke' };
  }
}
