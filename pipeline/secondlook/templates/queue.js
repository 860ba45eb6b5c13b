"use strict";
// The page is complete without this: it adds the filter and the keys.
(() => {
  const controls = document.getElementById("controls");
  if (!controls) return;
  const status = document.getElementById("status");
  const keys = document.getElementById("keys");
  const cases = [...document.querySelectorAll("article.case")];
  const margin = 16;

  const matches = (item, value) => {
    const flags = item.dataset.flags.split(" ").filter(Boolean);
    if (value === "all") return true;
    return value === "none" ? flags.length === 0 : flags.includes(value);
  };

  const filter = () => {
    const choice = controls.querySelector("input[name=show]:checked");
    for (const item of cases) item.hidden = !matches(item, choice.value);
    const count = cases.filter((item) => !item.hidden).length;
    const says = choice.dataset.says ? ", " + choice.dataset.says : "";
    status.textContent = `${count.toLocaleString("en")} of ${cases.length.toLocaleString("en")} cases shown${says}.`;
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

  const step = (by) => {
    const visible = cases.filter((item) => !item.hidden);
    const target = visible[Math.max(0, here(visible) + by)];
    if (!target) return;
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "start" });
  };

  const actions = {
    j: () => step(1),
    k: () => step(-1),
    f: () => controls.querySelector("input[name=show]:checked").focus(),
    "?": () => keys.focus(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") document.activeElement?.closest("mark")?.blur();
    const action = keys.checked && Object.hasOwn(actions, event.key) && actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", filter);
  controls.hidden = false;
  filter();
})();
