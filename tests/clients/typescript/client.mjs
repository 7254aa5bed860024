// Starts an order, or finds the one with this id, and prints its result.
import { Resonate } from "@resonatehq/sdk";

const [url, id, item] = process.argv.slice(2);
const resonate = new Resonate({ url, group: "client", logLevel: "error" });
const options = resonate.options({ target: "poll://any@default", timeout: 120000 });
const handle = await resonate.beginRpc(id, "order", item, options);
console.log(JSON.stringify(await handle.result()));
await resonate.stop();
