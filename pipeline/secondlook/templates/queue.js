"use strict";
// The page is complete without this: it adds the filter and the keys.
(() => {
  const controls = document.getElementById("controls");
  if (!controls) return;
  const status = document.getElementById("status");
  const keys = document.getElementById("keys");
  const cases = [...document.querySelectorAll("article.case")];
  const margin = 16;
  const onPage = document.body.dataset.starts ? "on this page " : "";

  const body = document.body;
  const starts = (body.dataset.starts ?? "1").split(" ").map(Number);

  const matches = (item, value) => {
    const flags = item.dataset.flags.split(" ").filter(Boolean);
    if (value === "all") return true;
    return value === "none" ? flags.every((flag) => flag === "audit") : flags.includes(value);
  };

  const filter = () => {
    const choice = controls.querySelector("input[name=show]:checked");
    for (const item of cases) item.hidden = !matches(item, choice.value);
    const count = cases.filter((item) => !item.hidden).length;
    const says = choice.dataset.says ? ", " + choice.dataset.says : "";
    // The choice goes along to the other pages.
    for (const link of document.querySelectorAll(".pager a:not([aria-current])")) {
      link.hash = choice.value === "all" ? "" : `show=${choice.value}`;
    }
    status.textContent = `${count.toLocaleString("en")} of ${cases.length.toLocaleString("en")} cases ${onPage}shown${says}.`;
  };

  // Where the reader is: the case with the focus while it is in view, else the last one begun above.
  const here = (visible) => {
    const focused = visible.indexOf(document.activeElement?.closest("article.case"));
    if (focused >= 0) {
      const box = visible[focused].getBoundingClientRect();
      if (box.bottom > 0 && box.top < innerHeight) return focused;
    }
    return visible.findLastIndex((item) => item.getBoundingClientRect().top <= margin + 1);
  };

  const goTo = (target) => {
    if (!target) return;
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "start" });
  };

  const step = (by) => {
    const visible = cases.filter((item) => !item.hidden);
    goTo(visible[Math.max(0, here(visible) + by)]);
  };

  // What stands in the address: a filter that came along, a rank that was asked for.
  const follow = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const inputs = [...controls.querySelectorAll("input[name=show]")];
    const choice = inputs.find((input) => input.value === asked.get("show"));
    if (choice) choice.checked = true;
    filter();
    if (!asked.has("rank")) return;
    const rank = Number(asked.get("rank"));
    // A case drawn for the audit may stand elsewhere: then the next one.
    goTo(cases.find((item) => Number(item.dataset.rank) === rank) ?? cases.find((item) => Number(item.dataset.rank) > rank));
  };

  const toRank = () => {
    const rank = Number(controls.elements.rank.value);
    if (!Number.isInteger(rank) || rank < 1) return;
    const page = Math.max(0, starts.findLastIndex((start) => start <= rank)) + 1;
    const name = page === 1 ? body.dataset.first : `${body.dataset.folder}queue-${String(page).padStart(5, "0")}.html`;
    const address = new URL(name, location.href);
    address.hash = `rank=${rank}`;
    if (address.href === location.href) follow();
    location.href = address.href;
  };

  const turn = (which) => document.querySelector(`.pager a[rel=${which}]`)?.click();

  const actions = {
    j: () => step(1),
    k: () => step(-1),
    f: () => controls.querySelector("input[name=show]:checked").focus(),
    n: () => turn("next"),
    p: () => turn("prev"),
    g: () => controls.elements.rank?.select(),
    "?": () => keys.focus(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.id === "rank") return;
    if (event.key === "Escape") document.activeElement?.closest("mark")?.blur();
    const action = keys.checked && Object.hasOwn(actions, event.key) && actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  controls.addEventListener("submit", (event) => {
    event.preventDefault();
    toRank();
  });
  controls.addEventListener("change", filter);
  addEventListener("hashchange", follow);
  controls.hidden = false;
  follow();
})();
