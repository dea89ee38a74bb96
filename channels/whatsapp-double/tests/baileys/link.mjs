// A client that is not ours and not of our library's family (Baileys, from npm) links itself to the double, sends,
// hears that it was delivered and read, is written to, and logs out.
//
// Nothing of it is patched. It does not refuse the double's certificate, although it is signed under another root than
// WhatsApp's: 7.0.0-rc14 asks its Signal library for a verdict, and then takes "no" for "yes" (`verify` in
// lib/Utils/crypto.js expects an exception, and gets `false`).
//
// Arguments: the folder that Baileys is installed in, and where the double's admin API is.
import { EventEmitter, once } from "node:events";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, admin] = process.argv.slice(2);
const baileys = await import(pathToFileURL(createRequire(folder + "/").resolve("baileys")));
const { default: makeWASocket, DisconnectReason, initAuthCreds, proto } = baileys;

const TENANT = "15550100";
const ANNA = "447700900123";

const api = async (method, path, body) => {
  const response = await fetch(admin + path, {
    method,
    headers: body && { "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
};
const must = (holds, what) => {
  if (!holds) throw new Error(what);
};

// Its Signal library prints every session that it closes, keys included.
console.info = () => {};
const silent = { level: "silent", child: () => silent };
for (const level of ["trace", "debug", "info", "warn", "error", "fatal"]) silent[level] = () => {};

// What a client keeps from one connection to the next.
const keeps = () => {
  const kept = new Map();
  return {
    creds: initAuthCreds(),
    keys: {
      get: (type, ids) => Object.fromEntries(ids.map((id) => [id, kept.get(`${type}/${id}`)]).filter(([, it]) => it)),
      set: (data) => {
        for (const [type, values] of Object.entries(data))
          for (const [id, value] of Object.entries(values))
            if (value) kept.set(`${type}/${id}`, value);
            else kept.delete(`${type}/${id}`);
      },
    },
  };
};

const connect = (auth) => {
  const socket = makeWASocket({
    auth,
    waWebSocketUrl: about.url,
    logger: silent,
    // Without it, events wait for a history that no new phone has.
    shouldSyncHistoryMessage: () => false,
  });
  socket.ev.on("creds.update", (update) => Object.assign(auth.creds, update));
  return socket;
};

// The first event that is wanted. A connection that ends meanwhile is a failure, unless that is wanted.
const told = (socket, event, wanted) =>
  new Promise((resolve, reject) => {
    socket.ev.on(event, (data) => {
      const found = wanted(data);
      if (found) resolve(found);
    });
    socket.ev.on("connection.update", ({ connection, lastDisconnect }) => {
      if (connection === "close") reject(lastDisconnect?.error);
    });
  });
const ended = (socket) =>
  new Promise((resolve) => {
    socket.ev.on("connection.update", ({ connection, lastDisconnect }) => {
      if (connection === "close") resolve(lastDisconnect?.error);
    });
  });

const about = await api("GET", "/");

const auth = keeps();
const stranger = connect(auth);
const restarted = ended(stranger);
const qr = await told(stranger, "connection.update", ({ qr }) => qr);
await api("POST", "/scan", { number: TENANT, qr });
const told515 = await restarted;
must(told515?.output?.statusCode === DisconnectReason.restartRequired, `not told to restart: ${told515}`);

const socket = connect(auth);
await told(socket, "connection.update", ({ connection }) => connection === "open");
const [found] = await socket.onWhatsApp(ANNA);
must(found?.exists, "somebody was not found");

// How far a message of the client's own is. What happens while events are collected comes as part of the message.
const { DELIVERY_ACK, READ } = proto.WebMessageInfo.Status;
const reached = new EventEmitter();
let furthest = 0;
let sent;
const heard = (status) => {
  furthest = Math.max(furthest, status ?? 0);
  reached.emit("status");
};
socket.ev.on("messages.update", (updates) => updates.forEach(({ update }) => heard(update.status)));
socket.ev.on("messages.upsert", ({ messages }) =>
  messages.filter(({ key }) => key.id === sent?.key.id).forEach(({ status }) => heard(status)),
);
const status = async (wanted) => {
  while (furthest < wanted) await once(reached, "status");
};

sent = await socket.sendMessage(`${ANNA}@s.whatsapp.net`, { text: "Your code is 123456" });
const [received] = await api("GET", `/inbox?id=${sent.key.id}&wait_seconds=30`);
must(received?.text === "Your code is 123456", `received: ${JSON.stringify(received)}`);
must(received.from === TENANT && received.to === ANNA && received.own_copy, `received: ${JSON.stringify(received)}`);
await status(DELIVERY_ACK);
await api("POST", "/receipts", { message: sent.key.id, receipt: "read" });
await status(READ);

const text = ({ messages }) => messages.map(({ message }) => message?.conversation).find((text) => text);
const answer = told(socket, "messages.upsert", text);
await api("POST", "/messages", { from: ANNA, to: TENANT, text: "Thank you." });
must((await answer) === "Thank you.", "what was written is not what was read");
must(auth.creds.myAppStateKeyId, "the phone has not shared the key of its settings");

const gone = ended(socket);
await socket.logout();
await gone;
const devices = await api("GET", "/devices");
must(devices.length === 0, `still linked: ${JSON.stringify(devices)}`);
process.exit(0);
