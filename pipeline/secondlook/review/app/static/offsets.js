// Where something on the page stands in the narrative, in code points.
// The narrative is shown in pieces. Each says where it starts; within it, a control character is shown as a code such
// as ⟦U+202E⟧ that counts as one, and everything else is the narrative to the letter.

const IS_HIGH = /[\uD800-\uDBFF]/;
const IS_LOW = /[\uDC00-\uDFFF]/;

/** How many code points a string has; its length counts an emoji twice. */
export const codePoints = (string) => {
  let count = 0;
  for (const _ of string) count += 1;
  return count;
};

const elementOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement);

/** Whether a place in a text node is between the two halves of one character. */
const splits = (node, offset) =>
  node.nodeType === Node.TEXT_NODE &&
  IS_HIGH.test(node.data[offset - 1] ?? "") &&
  IS_LOW.test(node.data[offset] ?? "");

/** Move the ends of a range out of codes and characters that they would cut. */
const snap = (range) => {
  const first = elementOf(range.startContainer).closest(".code");
  const last = elementOf(range.endContainer).closest(".code");
  if (first && range.startOffset === range.startContainer.length) range.setStartAfter(first);
  else if (first) range.setStartBefore(first);
  if (last && range.endOffset === 0) range.setEndBefore(last);
  else if (last) range.setEndAfter(last);
  if (splits(range.startContainer, range.startOffset)) range.setStart(range.startContainer, range.startOffset - 1);
  if (splits(range.endContainer, range.endOffset)) range.setEnd(range.endContainer, range.endOffset + 1);
};

const placeOf = (text, node, offset) => {
  const piece = elementOf(node).closest(".piece");
  if (!piece) {
    const next = text.children[offset]; // between two pieces, counted as children of the text
    return Number(next ? next.dataset.start : text.dataset.end);
  }
  const before = document.createRange();
  before.setStart(piece, 0);
  before.setEnd(node, offset);
  const content = before.cloneContents();
  for (const code of content.querySelectorAll(".code")) code.replaceWith("x");
  return Number(piece.dataset.start) + codePoints(content.textContent);
};

/**
 * What is selected of the narrative.
 * @param {HTMLElement} text - the element whose children are the pieces.
 * @returns {{start: number, end: number} | null} offsets in code points; null where nothing of it is selected.
 */
export const selected = (text) => {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0).cloneRange();
  if (!range.intersectsNode(text)) return null;
  const whole = document.createRange();
  whole.selectNodeContents(text);
  if (range.compareBoundaryPoints(Range.START_TO_START, whole) < 0) range.setStart(text, 0);
  if (range.compareBoundaryPoints(Range.END_TO_END, whole) > 0) range.setEnd(text, text.childNodes.length);
  snap(range);
  const start = placeOf(text, range.startContainer, range.startOffset);
  const end = placeOf(text, range.endContainer, range.endOffset);
  return start < end ? { start, end } : null;
};

/** The text node and the offset in it at a distance, in UTF-16 units, from the start of an element's text. */
const nodeAt = (text, distance) => {
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  let rest = distance;
  let last = null;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (rest <= node.length) return [node, rest];
    rest -= node.length;
    last = node;
  }
  return [last, last?.length ?? 0];
};

const distanceTo = (text, node, offset) => {
  const range = document.createRange();
  range.setStart(text, 0);
  range.setEnd(node, offset);
  return range.toString().length;
};

/** The sentences of a text without the white space around them, as pairs of distances. */
const sentencesOf = (string) => {
  const found = [];
  for (const { segment, index } of new Intl.Segmenter("en", { granularity: "sentence" }).segment(string)) {
    const words = segment.trim();
    const start = index + segment.indexOf(words);
    if (words) found.push([start, start + words.length]);
  }
  return found;
};

/**
 * Select the sentence after (or before) the selection; without one, the sentence at an element or the first.
 * @param {HTMLElement} text - the element whose children are the pieces.
 * @param {number} by - 1 for the next, -1 for the one before.
 * @param {Element | null} from - where to begin.
 */
export const selectSentence = (text, by, from) => {
  const sentences = sentencesOf(text.textContent);
  const selection = getSelection();
  const inside = selection.rangeCount && !selection.isCollapsed && text.contains(selection.anchorNode);
  let place;
  if (inside) {
    const range = selection.getRangeAt(0);
    const edge = by > 0 ? [range.endContainer, range.endOffset] : [range.startContainer, range.startOffset];
    const distance = distanceTo(text, ...edge);
    place =
      by > 0
        ? sentences.findIndex(([start]) => start >= distance)
        : sentences.findLastIndex(([, end]) => end <= distance);
  } else {
    const distance = from && text.contains(from) ? distanceTo(text, from, 0) : 0;
    place = sentences.findIndex(([, end]) => end > distance);
  }
  if (!sentences[place]) return;
  const [start, end] = sentences[place];
  selection.setBaseAndExtent(...nodeAt(text, start), ...nodeAt(text, end));
  nodeAt(text, start)[0].parentElement.scrollIntoView({ block: "nearest" });
};
