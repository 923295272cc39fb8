/** `margay identities publish --kubernetes`: the cluster's pods, accounts and namespaces, listed and watched. */
import { type ClusterObject, ClusterSource } from '../identity/cluster-source.ts';
import { ListWatch, type ObjectSink } from '../identity/list-watch.ts';
import { StoreError } from '../identity/once.ts';
import { SYSTEM_CLOCK } from '../identity/system-clock.ts';
import { convertNamespace, convertPod, convertServiceAccount } from '../load/convert-core.ts';
import { ObjectContext } from '../load/object.ts';
import { ProblemList } from '../load/problem.ts';
import type { PublishOptions } from './commands/identities.ts';
import { EXIT_FINE } from './exit.ts';
import { makePublisher } from './identities-publish.ts';
import type { Output } from './output.ts';

/** Longest that `--once` may take. */
const ONCE_MS = 120_000;

type Kind = 'Pod' | 'ServiceAccount' | 'Namespace';

const PATHS: Readonly<Record<Kind, string>> = {
  Namespace: '/api/v1/namespaces',
  ServiceAccount: '/api/v1/serviceaccounts',
  Pod: '/api/v1/pods',
};

export async function publishKubernetes(options: PublishOptions, output: Output): Promise<number> {
  const { openKubernetesApi } = await import('../identity/kubernetes.ts');
  const api = openKubernetesApi(options);
  const { publisher, close } = await makePublisher(options, output);
  const source = new ClusterSource(publisher);
  const ended = new AbortController();
  const signal = options.once === true ? ended.signal : AbortSignal.any([output.interruptible(), ended.signal]);
  const tell = (trouble: string): void => {
    if (options.quiet !== true) output.stderr.write(`margay: ${trouble}\n`);
  };
  const watches = (Object.keys(PATHS) as Kind[]).map((kind) =>
    new ListWatch({
      api,
      path: PATHS[kind],
      sink: sinkOf(kind, source, tell),
      clock: SYSTEM_CLOCK,
      onTrouble: tell,
    }).run(signal),
  );
  const running = publisher.run();
  const end = SYSTEM_CLOCK.now() + ONCE_MS;
  try {
    while (!signal.aborted) {
      if (options.once === true && source.isComplete && publisher.isSettled) break;
      if (options.once === true && SYSTEM_CLOCK.now() > end)
        throw new StoreError(`nothing could be published within ${ONCE_MS / 1000} s`);
      await SYSTEM_CLOCK.sleep(50);
    }
  } finally {
    ended.abort();
    publisher.stop();
    await Promise.all([running, ...watches]);
    await close();
  }
  if (options.once === true && options.quiet !== true)
    output.stderr.write(`margay: published: revision ${publisher.rev} of epoch ${publisher.epoch}\n`);
  return EXIT_FINE;
}

function sinkOf(kind: Kind, source: ClusterSource, tell: (trouble: string) => void): ObjectSink {
  const take = (raw: unknown, put: (object: ClusterObject) => void): void => {
    const object = convert(kind, raw);
    if (object === undefined) tell(`an object of kind ${kind} that is none is left out`);
    else put(object);
  };
  return {
    replace: (objects) =>
      source.replace(
        kind,
        objects.flatMap((raw) => convert(kind, raw) ?? []),
      ),
    set: (raw) => take(raw, (object) => source.set(object)),
    remove: (raw) => take(raw, (object) => source.remove(object)),
  };
}

/** An object of the API in the model's form; `undefined` for one that has not even a name. */
function convert(kind: Kind, raw: unknown): ClusterObject | undefined {
  const metadata = (raw as { metadata?: { name?: unknown; namespace?: unknown } } | null)?.metadata;
  if (typeof metadata?.name !== 'string') return undefined;
  const id = { kind, namespace: String(metadata.namespace ?? ''), name: metadata.name };
  const document = { file: '(kubernetes)', value: raw, prefix: [], place: { line: 0, column: 0 }, lineOf: () => 0 };
  const context = new ObjectContext(id, document, new ProblemList(), MODE);
  try {
    if (kind === 'Pod') return convertPod(raw as Parameters<typeof convertPod>[0], context);
    if (kind === 'Namespace') return convertNamespace(raw as Parameters<typeof convertNamespace>[0], context);
    return convertServiceAccount(raw as Parameters<typeof convertServiceAccount>[0], context);
  } catch {
    return undefined;
  }
}

const MODE = { asIs: false, permissive: true, strict: false, takesDuplicates: true };
