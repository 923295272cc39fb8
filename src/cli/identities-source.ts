/** Owners of addresses for the `identities` verbs: of manifests, a file, Redis, or manifests with a file or Redis over them. */

import { identitiesOf } from '../identity/of-resources.ts';
import type { IdentityRecord } from '../identity/record.ts';
import type { IdentitySet } from '../identity/store.ts';
import type { IdentitiesOptions } from './commands/identities.ts';
import { EXIT_BAD_INPUT, ExitError, UsageError } from './exit.ts';
import { openIdentities, readIdentities } from './identity-inputs.ts';
import { loadInputs } from './inputs.ts';
import type { Output } from './output.ts';
import { counted } from './render.ts';

/** All that the options name, with times; only what holds at `--at` if that is given. */
export async function identitySource(options: IdentitiesOptions, output: Output): Promise<IdentitySet> {
  const set = await readSource(options, output);
  if (options.at === undefined) return set;
  return { ...set, records: recordsAt(set.records, options.at) };
}

function recordsAt(records: readonly IdentityRecord[], atMs: number): readonly IdentityRecord[] {
  return records.filter(({ fromMs, toMs }) => fromMs <= atMs && atMs < toMs);
}

async function readSource(options: IdentitiesOptions, output: Output): Promise<IdentitySet> {
  const hasStore = options.identities !== undefined || options.redis !== undefined;
  if (options.filename === undefined || options.filename.length === 0) {
    if (!hasStore) throw new UsageError('name a source: -f for manifests, --identities for a file, or --redis');
    return readIdentities(options, output);
  }
  const identities = hasStore ? await openIdentities(options, output) : undefined;
  const loaded = await loadInputs(options, false, identities?.amend);
  if (loaded.errors.length > 0) {
    const { formatProblem } = await import('../load/problem.ts');
    for (const problem of loaded.errors) output.stderr.write(`margay: ${formatProblem(problem)}\n`);
    output.stderr.write(`margay: ${counted(loaded.errors.length, 'error')} in the input\n`);
    throw new ExitError(EXIT_BAD_INPUT);
  }
  return identitiesOf(loaded.resources);
}
