// Looks at a page in headless Chromium over the DevTools protocol on a pipe; needs node and chromium, no packages.
// Usage: node page.mjs URL WIDTH HEIGHT SCHEME PICTURE.png [gone]
// Prints one JSON object. With "gone" it prints {"ready":true} first and then waits until the page says that the server has left.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const [url, width, height, scheme, picture, gone] = process.argv.slice(2);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "zkevm-page-"));
const browser = spawn(process.env.CHROMIUM ?? "chromium",
  ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", `--user-data-dir=${profile}`],
  { detached: true, env: { ...process.env, TMPDIR: profile }, stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
// The browser is many processes in a group of their own. Some write to the profile until the kernel has taken them away, so a folder that
// stays is no failure.
function leave(code) {
  browser.once("exit", () => {
    try { fs.rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }); } catch (error) { console.error(String(error)); }
    process.exit(code);
  });
  process.kill(-browser.pid, "SIGKILL");
}
setTimeout(() => { console.error("the browser took too long"); leave(1); }, 120_000);
browser.on("error", (error) => { console.error(String(error)); process.exit(1); });

let next = 0, rest = "", session;
const waiting = new Map(), messages = [], requests = new Set();
browser.stdio[4].on("data", (data) => {
  const parts = (rest + data).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const { id, result, error, method, params } = JSON.parse(part);
    if (id) waiting.get(id)(result ?? { error });
    else if (["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"].includes(method)) messages.push(JSON.stringify(params).slice(0, 400));
    else if (method === "Network.requestWillBeSent") requests.add(params.request.url);
  }
});
const send = (method, params = {}) => new Promise((done) => {
  waiting.set(++next, done);
  browser.stdio[3].write(JSON.stringify({ id: next, method, params, sessionId: session }) + "\0");
});
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const read = async (expression) => (await send("Runtime.evaluate", { expression, returnByValue: true })).result?.value;
async function until(expression) { while (!await read(expression)) await sleep(100); }

const { targetId } = await send("Target.createTarget", { url: "about:blank" });
session = (await send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
for (const domain of ["Runtime", "Log", "Network", "Page"]) await send(domain + ".enable");
await send("Emulation.setDeviceMetricsOverride", { width: +width, height: +height, deviceScaleFactor: 1, mobile: +width < 600 });
await send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
await send("Page.navigate", { url });

await until(`document.getElementById("status")?.className === "live"`);
// Batches are being sent: their number must grow twice, a window with gas must close, and the slowest must be listed.
const number = `[...document.querySelectorAll("#queue div")].find((line) => line.firstChild.textContent === "batches since then")?.lastChild.textContent`;
const batches = [await read(number)];
while (batches.length < 3) {
  const now = await read(number);
  if (now !== batches.at(-1)) batches.push(now);
  await sleep(100);
}
await until(`document.querySelector("#rates .value").textContent !== "0"`);
await until(`document.querySelector("#slowest a")`);
const quiet = [...messages];
if (gone) {
  console.log(JSON.stringify({ ready: true }));
  await until(`document.getElementById("status").className === "gone"`);
}
const shot = await send("Page.captureScreenshot", { captureBeyondViewport: true });
fs.writeFileSync(picture, Buffer.from(shot.data, "base64"));
console.log(JSON.stringify({
  status: await read(`document.getElementById("status").textContent`),
  overflow: await read("document.documentElement.scrollWidth - document.documentElement.clientWidth"),
  windows: await read(`document.querySelectorAll("#windows tr").length`),
  text: await read(`document.body.innerText`),
  batches, download: await read(`document.querySelector("#slowest a").getAttribute("href")`),
  messages: quiet, requests: [...requests],
}));
leave(0);
