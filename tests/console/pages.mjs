// Every page over transfers that were really made: how each looks, and what stands on it.
import assert from "node:assert/strict";
import test from "node:test";
import { checkPage, nothingWrong, shows, told, url, userState, visitor } from "./support.mjs";

const state = await userState();
const page = await visitor({ state });

/** The addresses of links that fit. */
const links = (selector) => page.locator(selector).evaluateAll((found) => found.map((link) => link.href));

async function transferIn(wanted) {
  await page.goto(url(`/transfers?state=${wanted}`));
  const [found] = await links("a.name[href^='/transfers/']");
  assert.ok(found, `no transfer is ${wanted}`);
  return found;
}

test("overview", async () => {
  await page.goto(url("/"));
  await shows(page, "Problems", "810_1.inv", "STMT_9.xml", "Status");
  await checkPage(page, "overview");
});

test("flows", async () => {
  await page.goto(url("/flows"));
  await shows(page, "orders", "statements", "acme-folder");
  await checkPage(page, "flows");
});

test("transfers", async () => {
  await page.goto(url("/transfers"));
  assert.ok(await page.locator("tr[data-key]").count() >= 8);
  await checkPage(page, "transfers");
  await page.goto(url("/transfers?flow=orders&within=24h&name=e&partner=x"));
  await checkPage(page, "transfers-filtered");
});

test("names that would be markup or turn the line around stay text", async () => {
  await page.goto(url("/transfers"));
  const names = await page.locator("a.name").allTextContents();
  assert.ok(names.includes("Bestellung Größe & <b>fett.edi"), String(names));
  assert.ok(names.some((name) => name.startsWith("caf%E9 %E2%80%AEfdp.exe")), String(names));
});

for (const [wanted, words] of [
  ["completed", ["MIC matched", "Message-ID", "Delivered", "Found at acme-folder"]],
  ["failed", ["initech-as2", "refused"]],
  ["partly_failed", ["Delivery to archive", "Delivery to initech-as2"]],
  ["delivering", ["Retrying", "Next attempt"]],
]) {
  test(`the waybill of a transfer that is ${wanted}`, async () => {
    await page.goto(await transferIn(wanted));
    await shows(page, ...words);
    await checkPage(page, `waybill-${wanted}`);
  });
}

test("the picture of a way keeps its text in its boxes, whatever the name", async () => {
  const longest = page.locator("a.name").filter({ hasText: "A-NAME-THAT" });
  await page.goto(url("/transfers"));
  await page.goto(await longest.evaluate((link) => link.href));
  for (const width of [1280, 400]) {
    await page.setViewportSize({ width, height: 860 });
    const out = await page.evaluate(() => [...document.querySelectorAll(".route")]
      .filter((picture) => picture.checkVisibility())
      .flatMap((picture) => [...picture.querySelectorAll(".stop")])
      .flatMap((stop) => {
        const box = stop.querySelector("rect").getBoundingClientRect();
        return [...stop.querySelectorAll("text")].filter((text) => text.getBoundingClientRect().right > box.right).map((text) => text.textContent);
      }));
    assert.deepEqual(out, [], `at ${width}`);
  }
  await checkPage(page, "waybill-long-name");
});

test("times that are told as numbers are shown as times", async () => {
  await page.goto(await transferIn("completed"));
  const told = page.locator("dt", { hasText: "Source modified" }).locator("xpath=following-sibling::dd[1]");
  assert.equal(await told.locator("time[data-shown]").count(), 1, await told.innerText());
});

test("connections, and one of each kind", async () => {
  await page.goto(url("/connections"));
  await checkPage(page, "connections");
  for (const [query, words, name] of [
    ["protocol=sftp", ["Host key", "Key exchange", "127.0.0.1"], "connection-sftp"],
    ["endpoint=globex-as2&direction=outbound", ["None: data is sent unencrypted"], "connection-as2"],
    ["live=yes", ["Still open"], "connection-live"],
  ]) {
    // One that is open may be closed on the way from the list to its page.
    for (let left = 5; ; left -= 1) {
      await page.goto(url(`/connections?${query}`));
      const [found] = await links("a.name[href^='/connections/']");
      assert.ok(found, query);
      await page.goto(found);
      if (left === 0 || (await page.locator("body").innerText()).includes(words[0])) break;
    }
    await shows(page, ...words);
    await checkPage(page, name);
  }
});

test("certificates, and what uses each", async () => {
  await page.goto(url("/certificates"));
  await shows(page, "key.acme", "identity.acme (as2.keys)", "partner.globex (as2.certificates)", "Valid");
  const details = page.locator("tr", { hasText: "key.acme" }).locator("details");
  await details.locator("summary").click();
  await shows(page, "SHA-256");
  await checkPage(page, "certificates");
});

test("partners, one of them, and a test message to it", async () => {
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.goto(url("/partners"));
  await shows(page, "globex", "GLOBEX", "Last sent");
  await checkPage(page, "partners");
  await page.goto(url("/partners?search=nobody"));
  await shows(page, "No partners match this search.");
  await checkPage(page, "partners-empty");
  await page.goto(url("/partners"));
  await page.getByRole("link", { name: "globex", exact: true }).click();
  await page.getByRole("heading", { name: "Names and endpoints" }).waitFor();
  await shows(page, "Names and endpoints", "Name in as2", "globex-as2", "as ACME (identity acme)", "Sent lately");
  await shows(page, "certificate.globex", "Theirs", "key.acme", "Ours", "next change");
  await shows(page, "What failed, and what to tell the partner", "initech-as2");
  await page.getByText("All options, given or by default").click();
  await shows(page, "send.cipher", "aes256-cbc");
  await checkPage(page, "partner");
  await page.getByRole("button", { name: "Send a test message to globex-as2" }).click();
  await page.getByText("The partner has the test message").waitFor({ timeout: 60_000 });
  await shows(page, "Find the host's address", "HTTP status 200", "Content named by the receipt (MIC)", "Passed");
  await checkPage(page, "partner-test");
});

test("audit", async () => {
  await page.goto(url("/audit"));
  await checkPage(page, "audit");
  await page.goto(url("/audit?kind=delivery.&severity=error&transfer=0192f7a0-0000-7000-8000-000000000000&from=2026-01-01T00:00"));
  await checkPage(page, "audit-filtered");
});

test("the other gateway shows what it received, and from whom", async () => {
  const received = await visitor({ state: await userState(told.globex) });
  await received.goto(new URL("/transfers", told.globex).href);
  await received.locator("a.name").first().click();
  await received.getByRole("heading", { name: "Steps" }).waitFor();
  await shows(received, "AS2 from", "ACME", "Delivery to warehouse");
  // The connection that it came in by.
  await shows(received, "receive");
  assert.equal(await received.locator("a.name[href^='/connections/']").count(), 1);
  await checkPage(received, "waybill-received");
});

test("times are in the viewer's zone, and UTC on hover", async () => {
  for (const zone of ["Australia/Adelaide", "America/St_Johns"]) {
    const viewer = await visitor({ state, zone });
    await viewer.goto(url("/transfers"));
    const times = await viewer.locator("time[data-shown]").evaluateAll((found) => found.map((time) => ({
      text: time.textContent, title: time.title, at: time.dateTime,
    })));
    assert.ok(times.length >= 8);
    for (const { text, title, at } of times) {
      const parts = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: zone };
      assert.equal(text, new Intl.DateTimeFormat("en-GB", parts).format(new Date(at)), `${zone} ${at}`);
      assert.equal(title, `${at.replace("T", " ").replace("Z", " UTC")} (shown in ${zone})`);
    }
    nothingWrong(viewer, zone);
    await viewer.context().close();
  }
});

test("without scripts every page is whole, in UTC", async () => {
  const plain = await visitor({ state, scripts: false });
  for (const path of ["/", "/flows", "/transfers", "/connections", "/audit"]) {
    await plain.goto(url(path));
    assert.ok(await plain.locator("main tbody tr").count() > 0, path);
    assert.match(await plain.locator("main time").first().textContent(), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/, path);
  }
  nothingWrong(plain, "without scripts");
});
