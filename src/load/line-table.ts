import type { Place } from './problem.ts';

/**
 * Offsets of a text to lines and columns.
 *
 * `text` begins at `origin` of its file: its first line is `origin.line`, its first character stands in column
 * `origin.column`. The line starts are found at the first question, so that a text nobody asks about costs nothing.
 */
export class LineTable {
  private readonly text: string;
  private readonly origin: Place;
  /** Offset of the first character of each line but the first. */
  private starts: number[] | undefined;

  constructor(text: string, origin: Place = { line: 1, column: 1 }) {
    this.text = text;
    this.origin = origin;
  }

  /** The place of `offset`, which may be the length of the text. */
  place(offset: number): Place {
    this.starts ??= lineStarts(this.text);
    const starts = this.starts;
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return { line: this.origin.line, column: this.origin.column + offset };
    return { line: this.origin.line + low, column: offset - starts[low - 1]! + 1 };
  }
}

function lineStarts(text: string): number[] {
  const starts: number[] = [];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}
