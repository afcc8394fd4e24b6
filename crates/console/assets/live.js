// Keeps a part of a page current: fetches the same address again, as a fragment, and puts in only what
// changed. Focus and scrolling stay where they are; nothing is asked for while nobody looks.
const live = document.querySelector("[data-live]");

if (live) {
  const every = Number(live.dataset.live) * 1000;
  let paused = false;
  let timer = 0;
  let last = live.innerHTML;

  const toggle = document.createElement("button");
  toggle.type = "button";
  toggle.className = "quiet-button";
  const note = () => {
    toggle.textContent = paused ? "Resume updates" : "Pause updates";
  };
  toggle.addEventListener("click", () => {
    paused = !paused;
    note();
    if (!paused) refresh();
  });
  note();
  document.querySelector("[data-live-controls]")?.append(toggle);

  const refresh = async () => {
    clearTimeout(timer);
    if (!paused && document.visibilityState === "visible") {
      try {
        const answer = await fetch(location.href, { headers: { "Waybill-Fragment": "1" }, redirect: "error" });
        if (answer.status === 401) {
          // Logged out meanwhile: the page itself leads to the login.
          location.reload();
          return;
        }
        if (answer.ok) put(await answer.text());
      } catch {
        // Away for the moment; the next turn asks again.
      }
    }
    timer = setTimeout(refresh, every);
  };

  const put = (html) => {
    if (html === last || document.getSelection()?.type === "Range") return;
    const part = document.createElement("div");
    part.innerHTML = html;
    document.dispatchEvent(new CustomEvent("waybill:part", { detail: part }));
    last = html;
    exchange(live, part);
  };

  /** Makes `now` like `then`, touching only what differs. */
  const exchange = (now, then) => {
    if (then.querySelector(":scope > [data-key]")) {
      exchangeRows(now, then);
      return;
    }
    const [ours, theirs] = [[...now.childNodes], [...then.childNodes]];
    theirs.forEach((node, place) => {
      const old = ours[place];
      if (!old) {
        now.append(node);
        mark(node);
      } else if (old.isEqualNode(node)) {
        // As it was.
      } else if (old.nodeType === 1 && node.nodeType === 1 && old.nodeName === node.nodeName) {
        like(old, node);
        exchange(old, node);
      } else {
        old.replaceWith(node);
      }
    });
    ours.slice(theirs.length).forEach((node) => node.remove());
  };

  /** The same for rows, which are known by their key: new ones come in between, and those that stay are
   *  not moved, so that what is open or focused in them stays so. */
  const exchangeRows = (now, then) => {
    const wanted = new Map([...then.children].map((row) => [row.dataset.key, row]));
    for (const row of [...now.childNodes]) {
      if (row.nodeType !== 1 || !wanted.has(row.dataset.key)) row.remove();
    }
    const there = new Map([...now.children].map((row) => [row.dataset.key, row]));
    let next = now.firstElementChild;
    for (const [key, row] of wanted) {
      const old = there.get(key);
      if (!old) {
        now.insertBefore(row, next);
        mark(row);
        continue;
      }
      if (old === next) next = next.nextElementSibling;
      else now.insertBefore(old, next);
      if (!old.isEqualNode(row)) {
        like(old, row);
        exchange(old, row);
        mark(old);
      }
    }
  };

  /** What a person opened stays open. */
  const kept = (element, name) => element.nodeName === "DETAILS" && name === "open";

  const like = (now, then) => {
    for (const { name } of [...now.attributes]) {
      if (!then.hasAttribute(name) && !kept(now, name)) now.removeAttribute(name);
    }
    for (const { name, value } of then.attributes) {
      if (now.getAttribute(name) !== value && !kept(now, name)) now.setAttribute(name, value);
    }
  };

  const mark = (node) => {
    if (node.nodeName !== "TR") return;
    node.classList.add("changed");
    setTimeout(() => node.classList.remove("changed"), 2000);
  };

  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh();
  });
  timer = setTimeout(refresh, every);
}
