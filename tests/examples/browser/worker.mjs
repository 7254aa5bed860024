// The page's worker without the page: Node has everything that it needs but an EventSource.

import { EventSource } from "eventsource";

import { factorialOf } from "../../../examples/browser_worker/factorial.mjs";
import { Resonate } from "../../../examples/browser_worker/resonate.mjs";

globalThis.EventSource = EventSource;

const [url, pid, pause] = process.argv.slice(2);
const resonate = new Resonate({ url, pid });
resonate.register("factorial", factorialOf(console.log, Number(pause)));
resonate.start().onopen = () => console.log("connected");
