// Runs the search of the built site in Node: the worker that a browser would start.
// Arguments: the folder of the site, and questions. Writes a JSON array with the addresses that each question finds.
const fs = require("node:fs");
const path = require("node:path");

const [site, ...questions] = process.argv.slice(2);
const workers = path.join(site, "assets", "javascripts", "workers");
const [worker] = fs.readdirSync(workers).filter((name) => /^search\..*\.js$/.test(name));
const index = JSON.parse(fs.readFileSync(path.join(site, "search.json"), "utf8"));

let answered;
globalThis.self = { postMessage: (message) => answered(message) };
(0, eval)(fs.readFileSync(path.join(workers, worker), "utf8"));

const ask = (type, data) =>
  new Promise((resolve) => {
    answered = resolve;
    self.onmessage({ data: { type, data } });
  });

// The messages are those of the page: 0 gives the index, 2 is a query.
const query = (input) => ({
  input,
  filter: {
    input: { type: "operator", data: { operator: "and", operands: [] } },
    aggregation: { input: [{ type: "term", data: { field: "tags" } }] },
  },
});

(async () => {
  await ask(0, index);
  const found = [];
  for (const question of questions) {
    const answer = await ask(2, query(question));
    found.push(answer.data.items.map((item) => index.items[item.id].location));
  }
  console.log(JSON.stringify(found));
})();
