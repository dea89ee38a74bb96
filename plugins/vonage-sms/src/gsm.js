// What an SMS can say in its own alphabet. Source: 3GPP TS 23.038, 6.2.1, the default table and its extension.

const DEFAULT =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
  '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà';
const EXTENSION = '\f^{}\\[~]|€';
const ALPHABET = new Set(DEFAULT + EXTENSION);

/** Whether a text needs no other alphabet; one that does is sent as UTF-16, and fewer characters fit in. */
export function isGsm(text) {
  return Array.from(text).every((char) => ALPHABET.has(char));
}
