// A case: from mark to mark, verdicts, passages that the model missed, the note.
import { onKey } from "./desk.js";
import { selected, selectSentence } from "./offsets.js";
import { Saving } from "./saving.js";

const TYPING_PAUSE = 700; // milliseconds without a key until what was typed is saved

const page = document.getElementById("case");
const data = page.dataset;
const find = (selector, inside = document) => inside.querySelector(selector);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const text = () => document.getElementById("narrative");

// What a screen reader is told, and everybody sees at the foot of the panel.
const saved = document.getElementById("saved");
const alarm = document.getElementById("alarm");
const say = (words) => {
  const place = document.getElementById("said");
  place.textContent = words;
};
const complain = (words) => {
  alarm.hidden = !words;
  find("p", alarm).textContent = words;
};
find("button", alarm).addEventListener("click", () => complain(""));

// From mark to mark.
const stops = () => all("mark[tabindex]", text());
const inView = (item) => {
  const box = item.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
};
const goTo = (stop) => {
  stop.focus({ preventScroll: true });
  stop.scrollIntoView({ block: "center" });
};
const step = (by) => {
  const marks = stops();
  const at = marks.indexOf(document.activeElement?.closest("mark"));
  const begin = by > 0 ? marks.findIndex((mark) => mark.getBoundingClientRect().bottom > 0) : marks.length;
  const target = at >= 0 ? marks[at + by] : by > 0 ? marks[Math.max(0, begin)] : marks.findLast(inView);
  if (target) return goTo(target);
  const further = find(by > 0 ? "a[data-further=next]" : "a[data-further=previous]");
  if (further) return leaveFor(further.href);
  say(by > 0 ? "That was the last mark." : "That was the first mark.");
};
onKey("j", () => step(1));
onKey("k", () => step(-1));

// A long narrative opens at the first evidence; a place in the address comes first.
if (!location.hash) {
  const first = stops()[0];
  if (first && first.getBoundingClientRect().bottom > innerHeight - 80) goTo(first);
} else {
  const asked = document.getElementById(location.hash.slice(1));
  if (asked?.matches("mark")) asked.focus();
}

onKey("q", () => leaveFor(data.queue));
onKey("p", () => leaveFor(data.print));
onKey("s", () => select(1));
onKey("S", () => select(-1));
const select = (by) => selectSentence(text(), by, document.activeElement?.closest("mark") ?? all(".piece", text()).find(inView));

const csrf = find("meta[name=csrf]").content;
let saving = null;

/** Go elsewhere once all is saved; where that fails, the browser asks first. */
async function leaveFor(address) {
  flush();
  if (saving?.pending && !saving.failing && !saving.halted) await saving.settled();
  location.href = address;
}

// The verdicts.
const modes = all("fieldset.mode.open");
const titleOf = (mode) => mode.dataset.title;
const verdictOf = (mode) => find("input:checked", mode)?.value ?? null;
let current = null;

const makeCurrent = (mode, focus = false) => {
  for (const other of modes) other.classList.toggle("current", other === mode);
  current = mode;
  if (!mode) return;
  if (focus) (find("input:checked", mode) ?? find("input", mode)).focus();
  mode.scrollIntoView({ block: "nearest" });
};
const needing = () => modes.find((mode) => "needed" in mode.dataset && !verdictOf(mode));

const typed = new Map(); // what was typed and waits for a pause: field to timer
const later = (field, save) => {
  clearTimeout(typed.get(field)?.timer);
  typed.set(field, { timer: setTimeout(() => sendTyped(field), TYPING_PAUSE), save });
  saved.textContent = "Not saved yet";
  saved.dataset.state = "waiting";
};
const sendTyped = (field) => {
  const waiting = typed.get(field);
  if (!waiting) return;
  clearTimeout(waiting.timer);
  typed.delete(field);
  waiting.save();
};
const flush = () => [...typed.keys()].forEach(sendTyped);

/** Reasons without a verdict yet: they cannot be saved. */
const drafts = () =>
  modes.filter((mode) => !verdictOf(mode)).map((mode) => find(".reason textarea", mode)).filter((field) => field.value.trim());
const explain = (mode) => {
  if (verdictOf(mode)) return later(find(".reason textarea", mode), () => decide(mode));
  saved.textContent = "Give a verdict, so that the reason is saved";
  saved.dataset.state = "waiting";
};
const openReason = (mode) => {
  find(".reason", mode).hidden = false;
  find(".reason textarea", mode).focus();
};

const decide = (mode) => {
  const verdict = verdictOf(mode);
  const field = find(".reason textarea", mode);
  const reason = verdict ? field.value : "";
  showVerdict(mode, verdict);
  clearTimeout(typed.get(field)?.timer);
  typed.delete(field);
  saving.add({
    what: "decide",
    key: `decide ${mode.dataset.mode}`,
    body: { mode: mode.dataset.mode, verdict, reason },
    says: `${titleOf(mode)}: ${verdict ?? "no verdict"}${reason ? `, because “${reason}”` : ""}`,
  });
};
const showVerdict = (mode, verdict) => {
  const finished = data.finished === "true";
  find(".reason", mode).hidden = !find(".reason textarea", mode).value && (finished || !verdict);
  find(".takeback", mode).hidden = !verdict || finished;
};
const choose = (verdict) => {
  const mode = current ?? modes[0];
  find(`input[value=${verdict}]`, mode).checked = true;
  decide(mode);
  const next = needing();
  say(`${titleOf(mode)}: ${verdict}. ${next ? `Next: ${titleOf(next)}.` : "Every verdict that is needed is there."}`);
  if (next) makeCurrent(next);
};
const takeBack = (mode) => {
  if (!mode || !verdictOf(mode)) return;
  find("input:checked", mode).checked = false;
  find(".reason textarea", mode).value = "";
  decide(mode);
  makeCurrent(mode);
  say(`${titleOf(mode)}: verdict taken back.`);
};

// Passages that the model missed.
const marking = document.getElementById("marking");
const markButton = document.getElementById("mark");
let chosen = null;
const openMarking = () => {
  chosen = selected(text());
  if (!chosen) return say("Select some of the narrative first: with the mouse, or sentence by sentence with s.");
  const words = getSelection().toString();
  find("#marking-text").textContent = words.length > 200 ? `${words.slice(0, 200)} …` : words;
  marking.showModal();
};
const markAs = (button) => {
  marking.close();
  getSelection().removeAllRanges();
  saving.add({
    what: "mark",
    body: { mode: button.value, start: chosen.start, end: chosen.end },
    says: `a passage marked for ${button.dataset.title}, characters ${chosen.start} to ${chosen.end}`,
  });
  makeCurrent(modes.find((mode) => mode.dataset.mode === button.value) ?? current);
  say(`Passage marked for ${button.dataset.title}.`);
};
const unmark = (id) => saving.add({ what: "unmark", body: { mark_id: id }, says: "a mark removed" });
const unmarkHere = () => {
  const item = document.activeElement?.closest("[data-mark]");
  if (item) unmark(Number(item.dataset.mark.split(" ")[0]));
  else say("Go to one of your marks first, with j or k.");
};

const note = document.getElementById("note");
const saveNote = () => saving.add({ what: "note", key: "note", body: { text: note.value }, says: `the note “${note.value}”` });

// What the desk answered is what is shown; what is being typed stays.
const apply = (state) => {
  const kept = drafts();
  data.finished = state.finished;
  for (const mode of modes) {
    const decision = state.decisions[mode.dataset.mode];
    for (const input of all("input[type=radio]", mode)) input.checked = input.value === decision?.verdict;
    const reason = find(".reason textarea", mode);
    if (!typed.has(reason) && !kept.includes(reason)) reason.value = decision?.reason ?? "";
    showVerdict(mode, decision?.verdict);
  }
  if (!typed.has(note)) note.value = state.note;
  find("#undo").disabled = !state.can_undo;
  find("#finish").hidden = state.finished;
  find("#reopen").hidden = !state.finished;
  for (const field of all(".mode.open input, .mode.open textarea, #note, #mark")) field.disabled = state.finished;
  find("#finished").hidden = !state.finished;
};
const marksOf = (state) => state.marks.map((mark) => `${mark.id} ${mark.mode} ${mark.start} ${mark.end}`).join();
let marksShown = data.marks;

/** Draw the narrative anew, with the marks that the desk has. */
const redraw = async (state) => {
  if (marksOf(state) === marksShown) return;
  const response = await fetch(data.text);
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const focused = document.activeElement?.closest("mark")?.id;
  for (const id of ["narrative", "marks"]) document.getElementById(id).replaceWith(fresh.getElementById(id));
  marksShown = marksOf(state);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
};

const conflict = document.getElementById("conflict");
const clock = () => new Date().toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
const tell = {
  saving: () => {
    saved.textContent = "Saving …";
    saved.dataset.state = "waiting";
  },
  saved: () => {
    if (typed.size) return;
    saved.textContent = `Saved at ${clock()}`;
    saved.dataset.state = "saved";
  },
  accepted: (state) => {
    if (!saving.pending) apply(state);
    redraw(state).catch(() => {});
  },
  failed: (why) => {
    saved.textContent = `Not saved: ${why}. Trying again …`;
    saved.dataset.state = "failed";
  },
  refused: async (why, change) => {
    complain(`Not saved: ${change.says}. ${why[0].toUpperCase()}${why.slice(1)}.`.replace("..", "."));
    makeCurrent(needing() ?? current);
    if (change.what === "finish") return;
    const state = await saving.current().catch(() => null);
    if (state && !saving.pending) {
      saving.version = state.version;
      apply(state);
    }
  },
  conflict: () => {
    saved.textContent = "Not saved: the case has changed";
    saved.dataset.state = "failed";
    conflict.hidden = false;
    find("#load").focus();
  },
};

let unsaved = [];
const load = async () => {
  flush();
  const state = await saving.current().catch(() => null);
  if (!state) return complain("The desk cannot be reached. Nothing is lost; try again in a moment.");
  unsaved = saving.resume(state.version);
  apply(state);
  await redraw(state).catch(() => {});
  conflict.hidden = true;
  const list = find("#unsaved ul");
  list.replaceChildren(
    ...unsaved.map((change) => Object.assign(document.createElement("li"), { textContent: change.says })),
  );
  find("#unsaved").hidden = !unsaved.length;
  if (unsaved.length) find("#save-after-all").focus();
};
const saveAfterAll = () => {
  for (const change of unsaved) saving.add(change);
  dropUnsaved();
};
const dropUnsaved = () => {
  unsaved = [];
  find("#unsaved").hidden = true;
};

const simple = (what, says) => {
  flush();
  saving.add({ what, body: {}, says });
};
const undo = () => {
  flush();
  if (find("#undo").disabled && !saving.pending) return say("There is nothing to undo.");
  simple("undo", "the undo");
  say("Undone.");
};
const finish = async () => {
  if (data.finished === "true") return leaveFor(data.next);
  complain("");
  simple("finish", "that the case is finished");
  if ((await saving.settled()) && data.finished === "true") location.href = data.next;
};
const release = async () => {
  if (data.finished === "true") return leaveFor(data.next);
  complain("");
  simple("release", "that the case is left");
  if ((await saving.settled()) && alarm.hidden) location.href = data.next;
};

if (!("version" in data)) {
  onKey("f", () => leaveFor(data.next));
  onKey("l", () => leaveFor(data.next));
} else {
  saving = new Saving({ address: data.api, version: Number(data.version), token: csrf, person: data.person }, tell);
  makeCurrent(needing() ?? modes[0] ?? null);
  for (const mode of modes) {
    mode.addEventListener("change", (event) => {
      if (event.target.matches("input[type=radio]")) decide(mode);
    });
    mode.addEventListener("focusin", () => makeCurrent(mode));
    const reason = find(".reason textarea", mode);
    reason.addEventListener("input", () => explain(mode));
    reason.addEventListener("blur", () => sendTyped(reason));
    find(".takeback", mode).addEventListener("click", () => takeBack(mode));
    onKey(mode.dataset.number, () => makeCurrent(mode, true));
  }
  note.addEventListener("input", () => later(note, saveNote));
  note.addEventListener("blur", () => sendTyped(note));
  for (const button of all("button[value]", marking)) button.addEventListener("click", () => markAs(button));
  marking.addEventListener("keydown", (event) => {
    const button = find(`button[data-number="${CSS.escape(event.key)}"]`, marking);
    if (button && !event.ctrlKey && !event.metaKey && !event.altKey) markAs(button);
  });
  document.addEventListener("selectionchange", () => {
    markButton.classList.toggle("ready", selected(text()) !== null);
  });
  document.addEventListener("click", (event) => {
    const item = event.target.closest("button[data-unmark]");
    if (item) unmark(Number(item.dataset.unmark));
  });
  const whenOpen = (action) => () => {
    if (data.finished === "true") say("This case is finished. Open it again first, with o.");
    else action();
  };
  const buttons = { mark: whenOpen(openMarking), undo, finish, reopen: () => simple("reopen", "that the case is open again"),
    release, load, "save-after-all": saveAfterAll, "leave-unsaved": dropUnsaved };
  for (const [id, action] of Object.entries(buttons)) document.getElementById(id)?.addEventListener("click", action);
  const keys = {
    c: whenOpen(() => choose("confirm")),
    r: whenOpen(() => choose("reject")),
    u: whenOpen(() => choose("unsure")),
    t: whenOpen(() => takeBack(current)),
    w: whenOpen(() => openReason(current)),
    m: buttons.mark,
    d: whenOpen(unmarkHere),
    n: whenOpen(() => note.focus()),
    z: undo,
    f: finish,
    o: () => data.finished === "true" && buttons.reopen(),
    l: release,
  };
  for (const [key, action] of Object.entries(keys)) onKey(key, action);
  addEventListener("beforeunload", (event) => {
    flush();
    if (saving.pending || drafts().length) event.preventDefault();
  });
}
