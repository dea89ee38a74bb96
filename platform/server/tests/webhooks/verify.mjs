// Verifies webhooks with the library of Standard Webhooks from npm, and their key pairs with Node's own Ed25519.
//
// Reads a list of {secret, public_key, headers, body} on standard input; fails at the first that does not hold,
// and at one whose body was changed by a byte and that holds nevertheless. The folder with the library is the
// first argument.
import { createRequire } from "node:module";
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const { Webhook } = createRequire(process.argv[2] + "/")("standardwebhooks");

const refuses = (work) => {
  try {
    work();
  } catch {
    return true;
  }
  return false;
};

for (const { secret, public_key, headers, body } of JSON.parse(readFileSync(0, "utf8"))) {
  const webhook = new Webhook(secret);
  webhook.verify(body, headers);
  if (!refuses(() => webhook.verify(body + " ", headers))) throw new Error("a changed body was taken");

  const raw = Buffer.from(public_key.slice("whpk_".length), "base64");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const pairs = headers["webhook-signature"].split(" ").filter((part) => part.startsWith("v1a,"));
  const holds = (text) =>
    pairs.some((pair) => verify(null, Buffer.from(text), key, Buffer.from(pair.slice("v1a,".length), "base64")));
  if (!holds(signed)) throw new Error("no signature of the key pair holds");
  if (holds(signed + " ")) throw new Error("a changed body was taken");
}
