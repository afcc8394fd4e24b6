// A gateway that has never moved a file: the one-time link, login and logout, and lists without rows.
import assert from "node:assert/strict";
import test from "node:test";
import { PASSWORD, USER, checkPage, comeInByLink, nothingWrong, told, url, visitor } from "./support.mjs";

const page = await visitor();

test("before there is a user the login says where the link is", async () => {
  await page.goto(url("/"));
  assert.equal(new URL(page.url()).pathname, "/login");
  await page.getByText("No users yet.").waitFor();
  await checkPage(page, "login-first");
});

test("the link refuses a weak password and says why", async () => {
  await page.goto(told.link);
  await checkPage(page, "setup");
  await page.getByLabel("User name").fill(USER);
  await page.getByLabel("Password", { exact: true }).fill("short-one-12");
  await page.getByLabel("Repeat password").fill("short-one-13");
  page.expected = /422/;
  await page.locator("main button[type=submit]").click();
  await page.getByRole("alert").waitFor();
  assert.equal(await page.getByLabel("User name").inputValue(), USER, "what was typed is kept");
  await checkPage(page, "setup-refused");
  page.expected = /^$/;
});

test("the link makes the first user, who is logged in, and is not valid afterwards", async () => {
  await comeInByLink(page, told.link);
  assert.equal(await page.locator(".user").textContent(), USER);
  nothingWrong(page, "coming in");
  page.expected = /410/;
  await page.goto(told.link);
  assert.equal(await page.locator("h1").textContent(), "This link is not valid");
  page.expected = /^$/;
});

test("lists without rows say what will be there", async () => {
  for (const [path, words, name] of [
    ["/", "No transfers in the last 24 hours.", "empty-overview"],
    ["/transfers", "No transfers yet.", "empty-transfers"],
    ["/partners", "No partners are defined.", "empty-partners"],
    ["/connections?endpoint=none", "No connections match these filters.", "empty-connections"],
    ["/transfers?state=failed&name=x", "No transfers match these filters.", "empty-filtered"],
    ["/audit?kind=transfer.recorded", "No audit events match these filters.", "empty-audit"],
  ]) {
    await page.goto(url(path));
    await page.getByText(words).waitFor();
    await checkPage(page, name);
  }
});

test("an unknown address says so, and links back", async () => {
  page.expected = /404/;
  await page.goto(url("/nowhere"));
  await page.getByRole("heading", { name: "Page not found" }).waitFor();
  await checkPage(page, "nowhere");
  page.expected = /^$/;
});

test("after a logout pages lead to the login, and it back to them", async () => {
  await page.goto(url("/transfers"));
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(url("/login"));
  await page.goto(url("/audit?kind=login."));
  assert.equal(new URL(page.url()).pathname, "/login");
  await checkPage(page, "login");
  const log_in = async (password) => {
    await page.getByLabel("User name").fill(USER);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.keyboard.press("Enter");
  };
  page.expected = /403/;
  await log_in("not the password");
  await page.getByRole("alert").waitFor();
  await checkPage(page, "login-refused");
  page.expected = /^$/;
  await log_in(PASSWORD);
  await page.waitForURL(url("/audit?kind=login."));
  const kinds = await page.locator("code.kind").allTextContents();
  assert.deepEqual([...new Set(kinds)].sort(), ["login.ended", "login.failed", "login.succeeded"], String(kinds));
  nothingWrong(page, "logging in");
});

test("a password can be looked at, and is hidden again when it is sent", async () => {
  const other = await visitor();
  await other.goto(url("/login"));
  const field = other.locator("#password");
  await field.fill("visible");
  await other.getByRole("button", { name: "Show the password" }).click();
  assert.equal(await field.getAttribute("type"), "text");
  await other.getByRole("button", { name: "Hide the password" }).click();
  assert.equal(await field.getAttribute("type"), "password");
  nothingWrong(other, "the password's button");
});

test("the colours that a person chose stay", async () => {
  await page.goto(url("/transfers"));
  for (const theme of ["light", "dark", "auto"]) {
    await page.locator("form[action='/theme'] button").click();
    await page.waitForSelector(`html[data-theme=${theme}]`);
    assert.equal(new URL(page.url()).pathname, "/transfers", "and the page");
  }
  nothingWrong(page, "choosing colours");
});
