/**
 * Arrow keys in lists and tables whose rows can take the focus (`data-row`): up and down a row, Page Up and Page Down ten, Home and End,
 * Enter or space opens. Only one row is in the tab order (roving tabindex), so that Tab leaves the table.
 */

import { targetIndex } from './key-target.ts';

/** To be given to the container's `onKeyDown`. `open` gets the row's `data-row`. */
export function handleRowKey(event: KeyboardEvent, open: (row: string) => void): void {
  const container = event.currentTarget as HTMLElement;
  const focused = document.activeElement;
  if (!(focused instanceof HTMLElement) || focused.dataset.row === undefined) return;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    open(focused.dataset.row);
    return;
  }
  const rows = [...container.querySelectorAll<HTMLElement>('[data-row]')];
  const target = targetIndex(event.key, rows.indexOf(focused), rows.length);
  if (target === undefined) return;
  event.preventDefault();
  focusRow(rows, rows[target]!);
}

function focusRow(rows: readonly HTMLElement[], target: HTMLElement): void {
  for (const row of rows) row.tabIndex = row === target ? 0 : -1;
  target.focus();
  target.scrollIntoView({ block: 'nearest' });
}
