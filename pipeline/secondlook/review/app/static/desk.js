// Keys on every page, and the dialog that lists them. The pages work without; deciding needs case.js.

const OFF = "secondlook-keys-off"; // a preference of this browser, nothing of a case
const actions = new Map();

/** Give a key an action. Where several pages' scripts give the same, the last holds. */
export const onKey = (key, action) => actions.set(key, action);

const isTyping = (element) =>
  element.isContentEditable ||
  element.matches("textarea, select") ||
  (element.matches("input") && !["radio", "checkbox", "button", "submit"].includes(element.type));

const openDialog = () => document.querySelector("dialog[open]");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (openDialog()) return;
  if (event.key === "Escape") document.activeElement?.closest("mark")?.blur();
  if (localStorage.getItem(OFF)) return;
  const action = actions.get(event.key);
  if (!action) return;
  event.preventDefault();
  if (!event.repeat || "jks".includes(event.key.toLowerCase())) action();
});

const dialog = document.getElementById("keys");
if (dialog) {
  const box = document.getElementById("keys-on");
  box.checked = !localStorage.getItem(OFF);
  box.addEventListener("change", () => {
    if (box.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  });
  const show = () => dialog.showModal();
  onKey("?", show);
  for (const button of document.querySelectorAll("[data-shows-keys]")) {
    button.hidden = false;
    button.addEventListener("click", show);
  }
}

// The queue: from line to line, from page to page.
const lines = [...document.querySelectorAll(".lines .line a.case-link")];
if (document.body.dataset.page === "queue") {
  const step = (by) => {
    const at = lines.indexOf(document.activeElement?.closest(".line")?.querySelector("a.case-link"));
    const target = lines[Math.min(lines.length - 1, Math.max(0, at + by))];
    target?.focus({ preventScroll: true });
    target?.closest(".line").scrollIntoView({ block: "nearest" });
  };
  const follow = (selector) => document.querySelector(selector)?.click();
  onKey("j", () => step(1));
  onKey("k", () => step(-1));
  onKey("n", () => follow(".pager a[rel=next]"));
  onKey("p", () => follow(".pager a[rel=prev]"));
  onKey("g", () => follow("#read-next"));
  onKey("/", () => document.getElementById("text")?.select());
  onKey("f", () => document.getElementById("mode")?.focus());
  onKey("x", () => follow("#clear"));
}
