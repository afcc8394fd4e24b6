// Shows times in the viewer's zone. The server writes them in UTC; the title keeps that.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const full = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const sameYear = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** Rewrites every time below a node. */
function show(root) {
  const year = new Date().getFullYear();
  for (const time of root.querySelectorAll("time[datetime]:not([data-shown])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.textContent = (at.getFullYear() === year ? sameYear : full).format(at);
    time.title = `${time.title} (shown in ${zone})`;
    time.dataset.shown = "";
  }
}

show(document);
// Fields for times stay in UTC, so that an address means the same to everybody: say what the lists show.
if (zone !== "UTC") {
  for (const note of document.querySelectorAll("[data-zone]")) note.textContent = `; the lists show ${zone}`;
}
// Parts of a page that come later ask for it before they are put in.
document.addEventListener("waybill:part", (event) => show(event.detail));
