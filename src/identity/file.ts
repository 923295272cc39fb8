/** Identities files: JSON lines, one ownership each (record.ts), in any order. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { PolicyError } from '../base/errors.ts';
import { compareRecords, type IdentityRecord, parseRecord, recordLine } from './record.ts';
import type { IdentitySet, IdentityStore } from './store.ts';

/** Bytes of one line; a record with every label that Kubernetes allows has less. */
const LINE_LENGTH_MAX = 4 * 1024 * 1024;
/** Errors that are told before reading is given up. */
const ERRORS_MAX = 20;

/** Reads and checks a whole file; `-` is standard input. Throws a `PolicyError` that lists the bad lines. */
export async function readIdentitiesFile(path: string): Promise<IdentitySet> {
  const name = path === '-' ? 'stdin' : path;
  const input = path === '-' ? process.stdin : createReadStream(path);
  const failed = new Promise<never>((_, reject) => input.once('error', reject));
  failed.catch(() => {});
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  const records: IdentityRecord[] = [];
  const errors: string[] = [];
  let line = 0;
  const read = async (): Promise<void> => {
    for await (const text of lines) {
      line++;
      if (text.trim() === '') continue;
      const refused = takeLine(text, { file: name, line }, records);
      if (refused !== undefined) errors.push(`${name}:${line}: ${refused}`);
      if (errors.length >= ERRORS_MAX) break;
    }
  };
  try {
    await Promise.race([read(), failed]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new PolicyError('no-such-file', `'${path}' does not exist`, { fix: 'correct the path after --identities' });
  } finally {
    lines.close();
  }
  if (errors.length > 0) {
    throw new PolicyError('bad-identities', errors.join('\n'), {
      fix: 'one JSON object a line, as margay identities dump writes them',
    });
  }
  records.sort(compareRecords);
  return { records, accounts: new Map(), namespaces: new Map(), isWhole: false };
}

function takeLine(
  text: string,
  origin: { readonly file: string; readonly line: number },
  records: IdentityRecord[],
): string | undefined {
  if (text.length > LINE_LENGTH_MAX) return `the line is longer than ${LINE_LENGTH_MAX} characters`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'no JSON';
  }
  const parsed = parseRecord(value, origin);
  if ('refused' in parsed) return parsed.refused;
  records.push(parsed.value);
  return undefined;
}

/** The lines of a file, in its order, each with its end. */
export function* identitiesLines(records: readonly IdentityRecord[]): Generator<string> {
  for (const record of [...records].sort(compareRecords)) yield `${recordLine(record)}\n`;
}

export function fileStore(path: string): IdentityStore {
  return { read: () => readIdentitiesFile(path), close: async () => {} };
}
