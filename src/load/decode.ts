import { isUtf8 } from 'node:buffer';

/** Stands in a text for bytes that are not UTF-8. Unicode reserves it for such inner uses; YAML forbids it. */
export const INVALID_BYTES = '\uffff';

/** The text of UTF-8 bytes; each byte that is none becomes `INVALID_BYTES`. */
export function decode(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  let from = 0;
  while (from < bytes.length) {
    const lineEnd = bytes.indexOf(0x0a, from);
    const to = lineEnd < 0 ? bytes.length : lineEnd + 1;
    const line = bytes.subarray(from, to);
    text += isUtf8(line) ? line.toString('utf8') : decodeBroken(line);
    from = to;
  }
  return text;
}

function decodeBroken(line: Buffer): string {
  let text = '';
  for (let at = 0; at < line.length; ) {
    const length = CHARACTER_LENGTHS.find(
      (count) => isUtf8(line.subarray(at, at + count)) && at + count <= line.length,
    );
    text += length === undefined ? INVALID_BYTES : line.toString('utf8', at, at + length);
    at += length ?? 1;
  }
  return text;
}

const CHARACTER_LENGTHS = [1, 2, 3, 4] as const;
