// What the scripts share: the browser, coming in, and what must hold for every page.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after } from "node:test";

/** What main.rs tells: `base`, the one-time `link`, where `pictures` go, and more. */
export const told = JSON.parse(process.env.WAYBILL_CONSOLE);
export const USER = "ada";
export const PASSWORD = "correct horse battery staple";

const packages = createRequire(`${told.packages}/package.json`);
const { chromium } = packages("playwright-core");
const axe = packages("axe-core").source;

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
after(() => browser.close());

/**
 * A browser of its own: no cookies but those of `state`. What the console of the browser, the content policy or a
 * failed request say is kept in `page.wrongs`; a test that expects one sets `page.expected` to fit it.
 */
export async function visitor({ width = 1280, zone = "UTC", state, scripts = true } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: 860 },
    timezoneId: zone,
    locale: "en-GB",
    reducedMotion: "reduce", // colours are then what they are, and not on their way
    storageState: state,
    javaScriptEnabled: scripts,
  });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  page.wrongs = [];
  page.expected = /^$/;
  const wrong = (text) => page.expected.test(text) || page.wrongs.push(text);
  await page.exposeFunction("policyViolated", (text) => wrong(`content policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.policyViolated(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ""}:${event.lineNumber}`);
    });
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrong(`console: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => wrong(`script: ${error.stack}`));
  page.on("response", (answer) => {
    if (answer.status() >= 400) wrong(`answer: ${answer.status()} for ${answer.url()}`);
  });
  page.on("requestfailed", (request) => {
    // What a page asked for while it was left is not wrong.
    if (request.failure()?.errorText !== "net::ERR_ABORTED") wrong(`request: ${request.url()} ${request.failure()?.errorText}`);
  });
  return page;
}

/** That words stand where people see them. */
export async function shows(page, ...words) {
  const seen = await page.locator("main").innerText();
  for (const word of words) assert.ok(seen.includes(word), `${page.url()} does not show ${word}:\n${seen}`);
}

export const url = (path) => new URL(path, told.base).href;

/** Makes the first user by a one-time link; leads to the overview. */
export async function comeInByLink(page, link) {
  await page.goto(link);
  await page.getByLabel("User name").fill(USER);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Repeat password").fill(PASSWORD);
  await page.locator("main button[type=submit]").click();
  await page.waitForURL((address) => address.pathname === "/");
}

/** The cookies of a user who has come in by the link. */
export async function userState(link = told.link) {
  const page = await visitor();
  await comeInByLink(page, link);
  const state = await page.context().storageState();
  await page.context().close();
  return state;
}

/** Says what went wrong in a page so far, and fails. */
export function nothingWrong(page, what) {
  assert.deepEqual(page.wrongs, [], `${what}: ${page.url()}`);
}

/** That nothing sticks out of a page to the right. */
export async function fits(page, what) {
  const out = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return null;
    const scrolls = (element) => element && (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
    const wide = [...document.body.querySelectorAll("*")]
      .filter((element) => element.getBoundingClientRect().right > room + 1 && !scrolls(element.parentElement))
      .map((element) => `${element.nodeName}.${element.getAttribute("class")} to ${element.getBoundingClientRect().right}`);
    return { room, needs: document.documentElement.scrollWidth, wide: wide.slice(0, 8) };
  });
  assert.equal(out, null, `${what} scrolls sideways: ${JSON.stringify(out)}`);
}

/** That axe finds nothing serious, by all of its rules or by some. Everything folded is to be open before. */
export async function accessible(page, what, rules) {
  await page.evaluate(axe);
  const options = { resultTypes: ["violations"], ...(rules && { runOnly: { type: "rule", values: rules } }) };
  const found = await page.evaluate(async (chosen) => (await window.axe.run(document, chosen)).violations, options);
  const bad = found
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 4).map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
  assert.deepEqual(bad, [], what);
}

/**
 * What must hold for every page: its picture is taken as people first see it, then all that is folded is opened, and
 * it is looked at in both schemes and at the width of a telephone.
 */
export async function checkPage(page, name) {
  assert.equal(await page.locator("h1").count(), 1, `${name}: one first heading`);
  assert.match(await page.title(), /\S · Waybill$/, name);
  const size = page.viewportSize();
  const looks = [[1280, "light"], [1280, "dark"], [400, "light"]];
  for (const [width, colorScheme] of looks) {
    const what = `${name} (${width}, ${colorScheme})`;
    await page.setViewportSize({ width, height: 860 });
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: `${told.pictures}/${name}-${width}-${colorScheme}.png`, fullPage: true });
    const opened = await page.evaluate(() => {
      const folded = [...document.querySelectorAll("details:not([open])")];
      folded.forEach((element, place) => { element.open = true; element.dataset.opened = place; });
      return folded.length;
    });
    await fits(page, what);
    // Contrast alone depends on the scheme.
    await accessible(page, what, colorScheme === "dark" ? ["color-contrast"] : undefined);
    if (opened) await page.evaluate(() => document.querySelectorAll("[data-opened]").forEach((element) => { element.open = false; delete element.dataset.opened; }));
  }
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: "light" });
  nothingWrong(page, name);
}
