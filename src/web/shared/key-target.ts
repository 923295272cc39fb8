/** Where arrow keys lead, in lists and in graphs. Pure. */

import type { GraphLayout } from './graph-layout.ts';

const PAGE_ROWS = 10;

/** Index of the row that a key leads to; undefined for other keys. */
export function targetIndex(key: string, at: number, count: number): number | undefined {
  const last = count - 1;
  switch (key) {
    case 'ArrowDown':
      return Math.min(last, at + 1);
    case 'ArrowUp':
      return Math.max(0, at - 1);
    case 'PageDown':
      return Math.min(last, at + PAGE_ROWS);
    case 'PageUp':
      return Math.max(0, at - PAGE_ROWS);
    case 'Home':
      return 0;
    case 'End':
      return last;
    default:
      return undefined;
  }
}

/** The node that a key leads to from `id`; undefined when the key moves nothing. */
export function nextBox(key: string, id: string, layout: GraphLayout): string | undefined {
  const column = layout.columns.get(id);
  const at = layout.boxes.get(id);
  if (column === undefined || at === undefined) return undefined;
  const inColumn = (wanted: number): string[] =>
    [...layout.columns]
      .filter(([, other]) => other === wanted)
      .map(([other]) => other)
      .sort((a, b) => layout.boxes.get(a)!.y - layout.boxes.get(b)!.y);
  if (key === 'ArrowLeft' || key === 'ArrowRight') {
    const step = key === 'ArrowLeft' ? -1 : 1;
    const distance = (other: string): number => Math.abs(layout.boxes.get(other)!.y - at.y);
    return inColumn(column + step).sort((a, b) => distance(a) - distance(b))[0];
  }
  const own = inColumn(column);
  const target = targetIndex(key, own.indexOf(id), own.length);
  return target === undefined ? undefined : own[target];
}
