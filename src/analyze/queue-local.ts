/** A run of the queue as it is on this machine: its captures found and compared, its tables fetched and checked. */
import { realpathSync } from 'node:fs';
import { join, sep } from 'node:path';
import { shownText } from '../base/errors.ts';
import { readPcapHeader } from '../packets/pcap-segment.ts';
import { openTables } from '../tables/tables.ts';
import type { LocalRun } from './queue-judge.ts';
import { edgeDigest, need, QueueError, type RunFile, type RunRecord, sha256 } from './queue-run.ts';
import type { QueueStore } from './queue-store.ts';
import type { PlannedFile } from './replay-parallel-messages.ts';

/** Throws `QueueError` with what is in the way: this machine can then do nothing for the run. Other errors are of the connection. */
export async function openLocalRun(
  store: QueueStore,
  run: string,
  record: RunRecord,
  root: string | undefined,
): Promise<LocalRun> {
  const files = record.files.map((file) => localFile(file, root));
  const { pieces, sizeBytes, digest } = record.tables;
  const tables = await store.tables(run, pieces, sizeBytes);
  need(sha256(new Uint8Array(tables)) === digest, 'its tables are not those of their digest');
  try {
    openTables(tables);
  } catch (error) {
    throw new QueueError(`its tables are refused: ${(error as Error).message}`);
  }
  return { record, files, tables };
}

/** Without `root` where the run was started; else below `root`, by the name that the user gave. */
function localFile(file: RunFile, root: string | undefined): PlannedFile {
  const path = root === undefined ? file.path : join(root, file.name);
  const shown = shownText(path);
  let found: { readonly sizeBytes: number; readonly digest: string };
  try {
    if (root !== undefined) {
      const inside = realpathSync(root);
      const isInside = realpathSync(path).startsWith(inside.endsWith(sep) ? inside : inside + sep);
      need(isInside, `${shown} leads out of the folder that --root names`);
    }
    found = edgeDigest(path);
  } catch (error) {
    if (error instanceof QueueError) throw error;
    throw new QueueError(`${shown} can't be read here (${(error as NodeJS.ErrnoException).code ?? 'no file'})`);
  }
  need(
    found.sizeBytes === file.sizeBytes,
    `${shown} is another file here: ${found.sizeBytes} bytes, not ${file.sizeBytes}`,
  );
  need(found.digest === file.digest, `${shown} is another file here: it has the same size and other content`);
  const header = readPcapHeader(path);
  return {
    path,
    sizeBytes: file.sizeBytes,
    header: header === undefined ? undefined : { form: header.form, linkType: header.linkType },
  };
}
