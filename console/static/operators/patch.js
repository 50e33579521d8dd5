/**
 * Changing what is shown without making it anew: a list that is refreshed every two seconds must
 * keep the focus, the selection and the place that a person has in it.
 */

/** Set the text if it differs. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set or, with null, take an attribute if it differs. */
export function mark(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Make the children of `parent` those of `items`, in order; who stays keeps its node.
 *
 * @param {Element} parent
 * @param {Iterable<any>} items
 * @param {(item: any) => string} keyOf
 * @param {(item: any) => Element} make An empty one.
 * @param {(node: Element, item: any) => void} [update] Called for new ones and old ones.
 */
export function patch(parent, items, keyOf, make, update = () => {}) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = old.get(key);
    old.delete(key);
    if (node === undefined) {
      node = make(item);
      node.dataset.key = key;
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    update(node, item);
  }
  for (const node of old.values()) node.remove();
}
