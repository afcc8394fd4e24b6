// Working with the lists: filters by mouse and by keyboard alone, paging, and pages that keep themselves current.
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { nothingWrong, told, url, userState, visitor } from "./support.mjs";

const state = await userState();
const page = await visitor({ state });
const names = () => page.locator("a.name").allTextContents();

test("filters by state, flow, name and time", async () => {
  await page.goto(url("/transfers"));
  const find = async () => {
    await page.getByRole("button", { name: "Search" }).click();
    await page.locator(".chips").waitFor();
  };
  await page.getByLabel("State").selectOption("failed");
  await find();
  assert.deepEqual(await names(), ["810_1.inv"]);
  assert.equal(new URL(page.url()).search, "?state=failed", "fields left empty are not in the address");
  await page.locator(".chip").click();
  await page.getByLabel("Flow").fill("copies");
  await find();
  assert.deepEqual(await names(), ["both.edi"]);
  await page.locator(".chip").click();
  await page.getByLabel("File name contains").fill("BESTELLUNG");
  await find();
  assert.deepEqual(await names(), ["Bestellung Größe & <b>fett.edi"]);
  assert.equal(await page.getByLabel("File name contains").inputValue(), "BESTELLUNG");
  await page.getByLabel("Time").selectOption("1h");
  await find();
  assert.equal((await names()).length, 1);
  assert.equal(await page.locator(".chip").count(), 2);
  await page.getByRole("link", { name: "Remove all filters" }).click();
  await page.getByText("More filters").click();
  await page.getByLabel("Until").fill("2001-02-03T04:05");
  await find();
  assert.deepEqual(await names(), []);
  await page.getByText("No transfers match these filters.").waitFor();
  assert.equal(await page.getByLabel("Until").inputValue(), "2001-02-03T04:05", "the field keeps its value");
  // A moment as other programs write it is kept by its field, and so by the next search.
  await page.goto(url("/transfers?from=2001-02-03T05:05:07%2B01:00"));
  await page.getByLabel("State").selectOption("failed");
  await find();
  assert.deepEqual(await names(), ["810_1.inv"]);
  assert.equal(new URL(page.url()).searchParams.get("from"), "2001-02-03T04:05:07");
  nothingWrong(page, "filtering");
});

test("numbers on the overview lead to what they count", async () => {
  await page.goto(url("/"));
  await page.getByRole("row", { name: /^copies/ }).locator("a.bad-text").click();
  await page.locator(".chips").waitFor();
  assert.deepEqual(await names(), ["both.edi"]);
  await page.goto(url("/"));
  await page.getByRole("link", { name: "Transfers with problems" }).click();
  await page.locator(".chips").waitFor();
  assert.deepEqual((await names()).sort(), ["810_1.inv", "STMT_9.xml", "both.edi"]);
  nothingWrong(page, "from the overview");
});

test("fields for times say their zone, and which one the lists show", async () => {
  const viewer = await visitor({ state, zone: "America/St_Johns" });
  await viewer.goto(url("/transfers"));
  await viewer.getByText("More filters").click();
  await viewer.getByText("From and Until are in UTC; the lists show America/St_Johns.").waitFor();
  await viewer.context().close();
});

test("filters are reached and used by keyboard alone, and what has the focus shows it", async () => {
  await page.goto(url("/transfers"));
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip", "the first stop leads to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  const wanted = await page.evaluate(() =>
    [...document.querySelectorAll(".filters input:not([type=hidden]), .filters select, .filters button, .filters summary")]
      .filter((element) => element.checkVisibility())
      .map((element) => element.id || element.textContent));
  assert.ok(wanted.length >= 6, String(wanted));
  const reached = [];
  for (let presses = 0; presses < 60 && !wanted.every((each) => reached.includes(each)); presses += 1) {
    await page.keyboard.press("Tab");
    const { name, shows } = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      return { name: element.id || element.textContent, shows: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
    });
    assert.ok(shows, `${name} has the focus and does not show it`);
    reached.push(name);
  }
  assert.ok(wanted.every((each) => reached.includes(each)), `reached ${reached} of ${wanted}`);
  await page.locator("#name").focus();
  await page.keyboard.type("810");
  await page.keyboard.press("Enter");
  await page.locator(".chips").waitFor();
  assert.deepEqual(await names(), ["810_1.inv"]);
  // The file's own link is next to be reached, and leads to its waybill.
  await page.locator("a.name").focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "810_1.inv" }).waitFor();
  nothingWrong(page, "the keyboard");
});

test("the lists of connections and events filter as well", async () => {
  await page.goto(url("/connections"));
  await page.getByLabel("Protocol").selectOption("sftp");
  await page.getByRole("button", { name: "Search" }).click();
  await page.locator(".chips").waitFor();
  const rows = await page.locator("tr[data-key]").count();
  assert.ok(rows > 0);
  assert.equal(await page.locator("tr[data-key]", { hasText: "SFTP" }).count(), rows);
  await page.getByRole("navigation", { name: "Connection state" }).getByRole("link", { name: "Failed" }).click();
  assert.equal(await page.locator("tr[data-key]").count(), 0, "the protocol is kept");
  await page.goto(url("/audit"));
  await page.getByLabel("Kind").selectOption("delivery.failed");
  await page.getByRole("button", { name: "Search" }).click();
  await page.locator(".chips").waitFor();
  assert.deepEqual([...new Set(await page.locator("code.kind").allTextContents())], ["delivery.failed"]);
  nothingWrong(page, "the other lists");
});

/** Puts a file into the polled folder, whole at once. */
function drop(name) {
  const beside = join(told.folder, "..", `dropped-${name}`);
  writeFileSync(beside, name);
  renameSync(beside, join(told.folder, name));
}

test("a list that renews itself keeps open what is open, and the focus where it is", async () => {
  const watcher = await visitor({ state });
  await watcher.goto(url("/audit?kind=transfer."));
  const row = watcher.locator("tr[data-key]").nth(1);
  const key = await row.getAttribute("data-key");
  await row.locator("summary").click();
  const keys = () => watcher.locator("tr[data-key]").evaluateAll((rows) => rows.map((each) => each.dataset.key));
  const before = await keys();
  drop("live-1.edi");
  await watcher.waitForFunction((count) => document.querySelectorAll("tr[data-key]").length > count, before.length, { timeout: 60_000 });
  const after = await keys();
  assert.deepEqual(after.slice(-before.length), before, "rows come before the others, which stay");
  const same = watcher.locator(`tr[data-key="${key}"]`);
  assert.equal(await same.locator("details").evaluate((element) => element.open), true, "the open row is open");
  assert.equal(await same.locator("summary").evaluate((element) => element === document.activeElement), true, "and has the focus");
  assert.equal(await watcher.locator("main time:not([data-shown])").count(), 0, "new times are in the viewer's zone too");
  nothingWrong(watcher, "renewing");
  await watcher.context().close();
});

test("updates rest while they are paused", async () => {
  const watcher = await visitor({ state });
  await watcher.clock.install();
  await watcher.goto(url("/transfers"));
  await watcher.getByRole("button", { name: "Pause updates" }).click();
  let asked = 0;
  watcher.on("request", () => { asked += 1; });
  await watcher.clock.runFor(60_000);
  assert.equal(asked, 0);
  const answer = watcher.waitForResponse((found) => found.request().headers()["waybill-fragment"] === "1");
  await watcher.getByRole("button", { name: "Resume updates" }).click();
  assert.equal((await answer).status(), 200);
  nothingWrong(watcher, "pausing");
  await watcher.context().close();
});

test("who is logged out elsewhere is led to the login by the page itself", async () => {
  const [here, there] = [await visitor({ state }), await visitor({ state })];
  await here.clock.install();
  await here.goto(url("/transfers?within=7d"));
  await there.goto(url("/"));
  await there.getByRole("button", { name: "Log out" }).click();
  await there.waitForURL(url("/login"));
  here.expected = /401/;
  await here.clock.runFor(6_000);
  await here.waitForURL((address) => address.pathname === "/login");
  assert.equal(new URL(here.url()).searchParams.get("next"), "/transfers?within=7d");
  nothingWrong(here, "logged out");
});
