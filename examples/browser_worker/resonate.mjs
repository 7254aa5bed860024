// A Resonate worker for a page. It is offered tasks over SSE, and works on them with requests of the protocol.
//
// A workflow is a generator that yields commands, `ctx.run` and `ctx.rpc`. Each command is a durable promise, and the page
// stores nothing. So a page that is loaded again replays its workflows from the beginning, and reads recorded results.
// The error of a command is thrown into its workflow. The error of a workflow rejects its promise.

const VERSION = "2026-04-01";

export class Resonate {
  // url: the server's. group, pid: which tasks are offered here; a page keeps its pid when it is refreshed.
  // ttl: milliseconds without a heartbeat after which a task is offered to another worker.
  constructor({ url, pid, group = "default", ttl = 2000 }) {
    Object.assign(this, { url, pid, group, ttl });
    this.functions = new Map();
    this.held = new Map();
  }

  register(name, workflow) {
    this.functions.set(name, workflow);
  }

  // Start to receive tasks. `EventSource` reconnects by itself.
  start() {
    setInterval(() => this.#heartbeat(), this.ttl / 2);
    const path = [this.group, this.pid].map(encodeURIComponent).join("/");
    const messages = new EventSource(`${this.url}/poll/${path}`);
    messages.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.kind !== "execute") return;
      const { task } = message.data;
      this.#work(task).catch((error) => console.warn(`task ${task.id} is left to its lease: ${error}`));
    };
    return messages;
  }

  async #work({ id, version }) {
    const acquired = await this.#ask("task.acquire", { id, version, pid: this.pid, ttl: this.ttl });
    if (acquired.status !== 200) return; // another worker has it
    const task = { id, version: acquired.data.task.version };
    this.held.set(id, task);
    try {
      await this.#finish(task, acquired.data.promise, acquired.data.preload);
    } catch (error) {
      console.warn(`task ${id} is given back: ${error}`);
      await this.#ask("task.release", { ...task, error: `${error}` });
    } finally {
      if (this.held.get(id) === task) this.held.delete(id);
    }
  }

  // Replay the workflow until it has an outcome, or waits for a remote call.
  async #finish(task, promise, preload) {
    for (;;) {
      const { awaited, ...outcome } = await this.#replay(task, promise, preload);
      if (awaited === undefined) {
        await this.#accepted("task.fulfill", { ...task, action: request("promise.settle", { id: task.id, ...outcome }) });
        return;
      }
      const actions = [request("promise.register_callback", { awaited, awaiter: task.id })];
      const suspended = await this.#accepted("task.suspend", { ...task, actions });
      if (suspended.status === 200) return;
      preload = suspended.data.preload; // it was settled meanwhile
    }
  }

  async #replay(task, promise, preload) {
    const { func, args = [] } = decoded(promise.param);
    const workflow = this.functions.get(func);
    if (workflow === undefined) throw new Error(`no function ${func} is registered in this page`);
    const known = new Map(preload.map((each) => [each.id, each]));
    const commands = workflow({ run, rpc }, ...args);
    let resume = () => commands.next();
    for (let number = 1; ; number++) {
      let step;
      try {
        step = resume();
      } catch (error) {
        return { state: "rejected", value: failure(error) };
      }
      if (step.done) return { state: "resolved", value: encoded(step.value) };
      const id = `${task.id}.${number}`;
      let child = known.get(id) ?? (await this.#create(task, promise, id, step.value));
      if (child.state === "pending" && step.value.target) return { awaited: id };
      if (child.state === "pending") child = await this.#run(task, id, step.value);
      const value = decoded(child.value);
      resume = child.state === "resolved"
        ? () => commands.next(value)
        : () => commands.throw(new Error(value?.message ?? child.state));
    }
  }

  #create(task, parent, id, command) {
    const tags = {
      "resonate:origin": parent.tags["resonate:origin"] ?? parent.id,
      "resonate:prefix": parent.tags["resonate:prefix"] ?? parent.id,
      "resonate:parent": parent.id,
      "resonate:branch": command.target ? id : parent.tags["resonate:branch"] ?? parent.id,
      "resonate:scope": command.target ? "global" : "local",
      ...(command.target && { "resonate:target": command.target(this.group) }),
    };
    const param = command.target ? encoded({ func: command.func, args: command.args, version: 1 }) : {};
    return this.#fenced(task, "promise.create", { id, timeoutAt: parent.timeoutAt, param, tags });
  }

  async #run(task, id, { func, args }) {
    let settlement;
    try {
      settlement = { state: "resolved", value: encoded(await func(...args)) };
    } catch (error) {
      settlement = { state: "rejected", value: failure(error) };
    }
    return this.#fenced(task, "promise.settle", { id, ...settlement });
  }

  // The server refuses this write if the worker no longer holds the task.
  async #fenced(task, kind, data) {
    const answer = await this.#accepted("task.fence", { ...task, action: request(kind, data) });
    return answer.data.action.data.promise;
  }

  #heartbeat() {
    for (const task of this.held.values()) {
      this.#ask("task.heartbeat", { pid: this.pid, tasks: [task] }).catch((error) => console.warn(`${error}`));
    }
  }

  async #accepted(kind, data) {
    const answer = await this.#ask(kind, data);
    if (answer.status >= 400) throw new Error(`${kind} was refused: ${answer.status} ${answer.data}`);
    return answer;
  }

  async #ask(kind, data) {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(this.url, { method: "POST", headers, body: JSON.stringify(request(kind, data)) });
    const answer = await response.json();
    return { status: answer.head.status, data: answer.data };
  }
}

// Call a function of this page.
const run = (func, ...args) => ({ func, args });

// Call a registered function in any worker of the group.
const rpc = (func, ...args) => ({ func, args, target: (group) => `poll://any@${group}` });

const request = (kind, data) => ({ kind, head: { corrId: crypto.randomUUID(), version: VERSION }, data });

const failure = (error) => encoded({ __type: "error", message: error.message ?? String(error) });

// Payloads are JSON in base64. An undefined value has no payload.
function encoded(value) {
  if (value === undefined) return {};
  return { data: btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value)))) };
}

function decoded({ data }) {
  if (!data) return undefined;
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))));
}
