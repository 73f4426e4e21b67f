// Plays the client's part of everything.py with the official TypeScript SDK.
// Arguments: folder of its stream modules, endpoint, face, configure, types to see.

import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [folder, endpoint, face, configureJson, typesJson] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(folder, `${name}.js`)).href);
const { StreamClient } = await load("client");
const { StreamSession } = await load("session");

const client = new StreamClient("a-key").withEndpoint(endpoint);
const configure = JSON.parse(configureJson);
const wanted = new Set(JSON.parse(typesJson));
const types = new Set();
const kinds = new Set();

async function read(receiver, sender) {
  for (;;) {
    const event = await receiver.recv();
    if (event === null) return;
    const message = face === "session" ? event.message : event;
    types.add(message.type);
    if (face === "session") kinds.add(event.type);
    if (message.type === "mirror_buy_signal") {
      sender.mirrorBuyResult(message.mint, true);
    }
    wanted.delete(message.type);
    if (wanted.size === 0) {
      console.log(JSON.stringify({ types: [...types], kinds: [...kinds] }));
      process.exit(0);
    }
  }
}

const connect = {
  session: () => StreamSession.connect(client, configure),
  connection: () => client.connect(configure),
  lanes: () => client.connectLanes(configure, { lowPriorityCapacity: 512 }),
};
const stream = await connect[face]();
const sender = stream.sender();
sender.ping(1);
sender.requestExitSignalById(999999);
if (face === "lanes") {
  read(stream.highReceiver(), sender);
  await read(stream.lowReceiver(), sender);
} else {
  await read(stream, sender);
}
