// Known hosts: a key that a server showed is compared and added, lines are pasted, changed and removed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPage, nothingWrong, shows, told, url, userState, visitor } from "./support.mjs";

const state = await userState();
const page = await visitor({ state });
const list = page.getByRole("table", { name: "Known hosts, by their names" });

test("the page says what it is for before there is a line", async () => {
  await page.goto(url("/known-hosts"));
  await shows(page, "No known hosts yet.", "Ask a server for its keys");
});

test("a failed poll leads to the key that the server showed", async () => {
  await page.goto(url("/audit?kind=poll.failed"));
  await page.locator("details.event summary").first().click();
  await page.getByRole("link", { name: "Show the known hosts" }).first().click();
  await page.waitForURL((address) => address.pathname === "/known-hosts" && address.search.includes("acme-folder"));
  await shows(page, "Shown by servers and not on file", told.fingerprint, "Not on file");
  await checkPage(page, "known-hosts-offered");
  await page.getByRole("button", { name: /^Compare/ }).first().click();
  await page.getByRole("heading", { name: "Compare fingerprints" }).waitFor();
  await shows(page, told.fingerprint);
  await checkPage(page, "known-hosts-compare");
});

test("the key is added when a person says that it was compared", async () => {
  const add = page.getByRole("button", { name: "Add", exact: true });
  await add.click(); // The browser asks for the tick first.
  assert.equal(new URL(page.url()).pathname, "/known-hosts/read");
  await page.getByRole("checkbox").check();
  await add.click();
  await page.waitForURL((address) => address.pathname === "/known-hosts");
  await list.waitFor();
  await shows(page, told.fingerprint, "acme-folder", "ada");
  assert.equal(await page.getByText("Shown by servers and not on file").count(), 0);
  await checkPage(page, "known-hosts");
});

test("a server is asked for its keys, and they stand as they do in the list", async () => {
  await page.getByLabel("Host, or name of an endpoint").fill("acme-folder");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await page.getByRole("heading", { name: "Keys of a server" }).waitFor();
  await shows(page, told.fingerprint, "On file", "Not on file");
  await checkPage(page, "known-hosts-scan");
});

test("without scripts a line is pasted, a changed key is asked about, and a line is removed", async () => {
  const plain = await visitor({ state, scripts: false });
  await plain.goto(url("/known-hosts"));
  await plain.getByLabel("Lines of known_hosts").fill(`getafix,172.22.52.130 ${told.key}`);
  await plain.getByRole("button", { name: "Show fingerprints" }).click();
  await plain.getByRole("checkbox").check();
  await plain.getByRole("button", { name: "Add", exact: true }).click();
  // In the table: the form's hint has the same example.
  const lines = plain.getByRole("table", { name: "Known hosts, by their names" });
  await lines.getByText("getafix,172.22.52.130").waitFor();

  await plain.getByLabel("Lines of known_hosts").fill(`getafix ${told.another}`);
  await plain.getByRole("button", { name: "Show fingerprints" }).click();
  await shows(plain, "Another key of this type is on file for this host.");
  await checkChanged();
  await plain.getByRole("radio", { name: /^Remove them/ }).check();
  await plain.getByRole("checkbox").check();
  await plain.getByRole("button", { name: "Add", exact: true }).click();
  // The page before names both as well.
  await plain.waitForURL((address) => address.pathname === "/known-hosts");
  await lines.getByText("getafix", { exact: true }).waitFor();
  // The old key stays for the other name of its line.
  assert.equal(await lines.getByText("getafix,172.22.52.130").count(), 0);
  await lines.getByText("172.22.52.130", { exact: true }).waitFor();

  await plain.goto(url("/known-hosts?search=getafix"));
  await plain.getByRole("link", { name: "getafix", exact: true }).click();
  await plain.getByRole("button", { name: "Remove this line" }).click();
  await plain.waitForURL((address) => address.pathname === "/known-hosts");
  assert.equal(await plain.getByText("getafix", { exact: true }).count(), 0);
  nothingWrong(plain, "without scripts");

  async function checkChanged() {
    // axe needs scripts: the same page in the other browser.
    await page.goto(url("/known-hosts"));
    await page.getByLabel("Lines of known_hosts").fill(`getafix ${told.another}`);
    await page.getByRole("button", { name: "Show fingerprints" }).click();
    await page.getByRole("radio").first().waitFor();
    await checkPage(page, "known-hosts-changed");
  }
});

test("a line has a page of its own, with what uses it", async () => {
  await page.goto(url("/known-hosts?search=acme-folder"));
  await list.getByRole("link").first().click();
  await page.getByRole("heading", { name: "Remove", exact: true }).waitFor();
  await shows(page, told.fingerprint, "acme-folder");
  await checkPage(page, "known-host");
});
