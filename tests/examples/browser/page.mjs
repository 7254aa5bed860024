// Opens the worker's page in Chromium, refreshes it when it shows a certain line, and ends when it shows another one.

import { chromium } from "playwright-core";

const [executablePath, address, refreshAt, last] = process.argv.slice(2);
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const browser = await chromium.launch({ executablePath, args });
const page = await browser.newPage();
// At once, so that the step whose line it is has not ended when the page is refreshed.
await page.exposeFunction("shown", shown);
await page.addInitScript(() => {
  new MutationObserver((mutations) => {
    for (const node of mutations.flatMap(({ addedNodes }) => [...addedNodes])) {
      if (node.nodeName === "LI") window.shown(node.textContent);
    }
  }).observe(document, { childList: true, subtree: true });
});
page.on("console", (message) => console.log(`console: ${message.text()}`));
page.on("pageerror", (error) => console.log(`error: ${error}`));

let refreshed = false;
async function shown(line) {
  console.log(line);
  if (line === last) {
    await page.locator("#state", { hasText: "connected to" }).waitFor();
    await browser.close();
  } else if (line === refreshAt && !refreshed) {
    refreshed = true;
    console.log("refreshed");
    await page.reload();
  }
}

await page.goto(address);
