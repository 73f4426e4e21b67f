// The job "consume", done with the official TypeScript SDK (1.1.0); see clients/.
// Arguments: the folder of the SDK's stream modules, port, run, work.

import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [folder, port, run, json] = process.argv.slice(2);
const work = JSON.parse(json);

const WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9";

const load = (name) =>
  import(pathToFileURL(join(folder, `${name}.js`)).href);
const { StreamClient } = await load("client");
const { StreamSession } = await load("session");

const go = () => fetch(`http://127.0.0.1:${port}/go?run=${run}`);

const endpoint = `ws://127.0.0.1:${port}/v1/ws?run=${run}&work=${encodeURIComponent(json)}`;
const session = await StreamSession.connect(
  new StreamClient("key").withEndpoint(endpoint),
  {
    wallet_pubkeys: [WALLET],
    strategy: { target_profit_pct: 5.0, stop_loss_pct: 1.5 },
  },
);
for (let opened = 0; opened < work.positions; ) {
  opened += (await session.recv()).type === "position_opened";
}
await go();
for (let i = 0; i < work.warm_up; i++) await session.recv();

const cpu = process.cpuUsage();
const start = process.hrtime.bigint();
await go();
for (let i = 0; i < work.frames; i++) await session.recv();
const used = process.cpuUsage(cpu);
const seconds = Number(process.hrtime.bigint() - start) / 1e9;
session.close();

console.log(
  JSON.stringify({
    cpu_us: (used.user + used.system) / work.frames,
    frames_s: work.frames / seconds,
    dropped: 0,
  }),
);
process.exit(0);
