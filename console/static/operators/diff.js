/** What differs between two texts, line by line. */

const CONTEXT = 3;
const MOST_CELLS = 4_000_000;

/** @typedef {{sign: " "|"+"|"-", text: string, before: number|null, after: number|null}} Line */

/**
 * Every line of both, in order; those of both once.
 *
 * @param {string} before
 * @param {string} after
 * @returns {Line[]}
 */
export function diff(before, after) {
  const old = lines(before);
  const fresh = lines(after);
  let head = 0;
  while (head < old.length && head < fresh.length && old[head] === fresh[head]) head += 1;
  let tail = 0;
  const shorter = Math.min(old.length, fresh.length) - head;
  while (tail < shorter && old.at(-1 - tail) === fresh.at(-1 - tail)) tail += 1;

  const found = [];
  let [i, j] = [0, 0];
  const both = () => found.push({ sign: " ", text: old[i], before: ++i, after: ++j });
  const gone = () => found.push({ sign: "-", text: old[i], before: ++i, after: null });
  const come = () => found.push({ sign: "+", text: fresh[j], before: null, after: ++j });

  while (i < head) both();
  const [oldEnd, freshEnd] = [old.length - tail, fresh.length - tail];
  const common = longest(old.slice(head, oldEnd), fresh.slice(head, freshEnd));
  while (i < oldEnd && j < freshEnd) {
    if (old[i] === fresh[j]) both();
    else if (common(i + 1 - head, j - head) >= common(i - head, j + 1 - head)) gone();
    else come();
  }
  while (i < oldEnd) gone();
  while (j < freshEnd) come();
  while (i < old.length) both();
  return found;
}

/**
 * The differing lines with some around them, as groups.
 *
 * @param {Line[]} all
 * @returns {Line[][]} Empty when nothing differs.
 */
export function hunks(all) {
  const near = all.map((_, at) =>
    all.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some(({ sign }) => sign !== " "),
  );
  const groups = [];
  all.forEach((line, at) => {
    if (!near[at]) return;
    if (at === 0 || !near[at - 1]) groups.push([]);
    groups.at(-1).push(line);
  });
  return groups;
}

function lines(text) {
  const found = text.split("\n");
  if (found.at(-1) === "") found.pop();
  return found;
}

/** The length of the longest common subsequence from (i, j) on; texts too long have none. */
function longest(old, fresh) {
  const width = fresh.length + 1;
  if ((old.length + 1) * width > MOST_CELLS) return () => 0;
  const table = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      const at = i * width + j;
      table[at] =
        old[i] === fresh[j] ? table[at + width + 1] + 1 : Math.max(table[at + width], table[at + 1]);
    }
  }
  return (i, j) => table[i * width + j];
}
