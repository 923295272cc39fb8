/** Identities for a verb that judges: from a file (`--identities`) or from Redis (`--redis`), laid over the manifests. */
import { overlayIdentities, podsAt } from '../identity/overlay.ts';
import type { IdentitySet, IdentityStore } from '../identity/store.ts';
import type { Resource, Resources } from '../model/resources.ts';
import { UsageError } from './exit.ts';
import { listed } from './inputs.ts';
import type { CommonOptions, IdentityOptions, InputOptions } from './options.ts';
import type { Output } from './output.ts';
import { counted } from './render.ts';

export interface OpenIdentities {
  /** For the loader: the objects of the manifests with the pods of the store. */
  readonly amend: (resources: readonly Resource[]) => readonly Resource[];
  /** The objects as at `--at`, by default now; or with their timeline. */
  readonly settle: (resources: Resources, keepsTime: boolean) => Resources;
  readonly resourcesAt: (resources: Resources, ms: number) => Resources;
}

/** Reads the store. Throws UsageError for options that exclude each other, and the store's error. */
export async function openIdentities(
  options: IdentityOptions & InputOptions & CommonOptions,
  output: Output,
): Promise<OpenIdentities> {
  const set = await readIdentities(options, output);
  const isQuiet = options.quiet === true;
  return {
    amend: (resources) => {
      const overlaid = overlayIdentities(resources, set);
      if (overlaid.leftOut.length > 0 && !isQuiet) {
        const count = counted(overlaid.leftOut.length, 'pod');
        const which = listed(overlaid.leftOut);
        output.stderr.write(
          `margay: warning: ${count} of the manifests left out, Redis does not know them: ${which}\n`,
        );
      }
      return overlaid.resources;
    },
    settle: (resources, keepsTime) =>
      keepsTime && options.at === undefined ? resources : resourcesAt(resources, options.at ?? Date.now()),
    resourcesAt,
  };
}

function resourcesAt(resources: Resources, ms: number): Resources {
  return { ...resources, pods: podsAt(resources.pods, ms) };
}

/** What `--identities` or `--redis` says, whole. */
export async function readIdentities(
  options: IdentityOptions & InputOptions & CommonOptions,
  output: Output,
): Promise<IdentitySet> {
  const store = await openStore(options, output);
  try {
    return await store.read();
  } finally {
    await store.close();
  }
}

async function openStore(
  options: IdentityOptions & InputOptions & CommonOptions,
  output: Output,
): Promise<IdentityStore> {
  if (options.identities !== undefined && options.redis !== undefined) {
    throw new UsageError('--identities and --redis exclude each other: owners of addresses come from one place');
  }
  if (options.identities !== undefined) {
    if (options.identities === '-' && options.filename?.includes('-') === true) {
      throw new UsageError('-f - and --identities - both ask for standard input; put one of them into a file');
    }
    return (await import('../identity/file.ts')).fileStore(options.identities);
  }
  const [{ openRedis, readKey }, { sharedStore }] = await Promise.all([
    import('./identity-store.ts'),
    import('../identity/once.ts'),
  ]);
  const verifyKey = readKey('--verify-key', options.verifyKey);
  const onTrouble = (trouble: string): void => {
    if (options.quiet !== true) output.stderr.write(`margay: warning: --redis: ${trouble}\n`);
  };
  return sharedStore({ store: await openRedis(options), verifyKey, onTrouble });
}
