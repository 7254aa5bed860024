// A worker of the default group: one workflow that uses what the SDK has, printing what really runs. With `stuck` for a
// second argument it holds short leases, and does not come to the end of the step `ask`.
import { Resonate } from "@resonatehq/sdk";

const [url, stuck] = process.argv.slice(2);
const resonate = new Resonate({ url, group: "default", ttl: stuck ? 1000 : 4000, logLevel: "error" });

function* order(ctx, item) {
  const reserved = yield* ctx.run(reserve, item);
  const price = yield* ctx.rpc("price", reserved.quantity);
  yield* ctx.sleep(1500);
  const approval = yield* ctx.promise({});
  yield* ctx.run(ask, approval.id);
  const approved = yield* approval;
  yield* ctx.detached("audit", item, approved.by);
  return { item, price, approvedBy: approved.by };
}

async function reserve(_, item) {
  console.log(`reserve ${item}`);
  return { item, quantity: 7 };
}

async function ask(_, id) {
  console.log(`approve ${id}`);
  if (stuck) await new Promise(() => setInterval(() => {}, 60000));
}

async function price(_, quantity) {
  console.log(`price ${quantity}`);
  return quantity * 6;
}

async function audit(_, item, by) {
  console.log(`audit ${item} by ${by}`);
}

resonate.register("order", order);
resonate.register("price", price);
resonate.register("audit", audit);
console.log("ready");
