/** Manifests to what the authorization service decides by: in this thread, or in one of its own while the service goes on. */
import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { AuthorizerOptions } from '../authz/authorizer.ts';
import { threadEntry, WorkerFault } from '../base/thread-entry.ts';
import { authorizationForm } from '../compile/authorization.ts';
import type { AuthorizationForm } from '../tables/authorization.ts';
import type { AuthzOptions } from './commands/authz.ts';
import { ExitError, UsageError } from './exit.ts';
import { checkNode, listed, openCluster } from './inputs.ts';
import type { Output } from './output.ts';

/** Throws as `openCluster` does, and UsageError for a pod or node that the input has not. */
export async function openForm(options: AuthzOptions, output: Output): Promise<AuthorizationForm> {
  const { plan } = await openCluster(options, output);
  checkNode(plan, options.node);
  const form = authorizationForm(plan, { node: options.node });
  if (options.endpoint !== undefined && !form.endpoints.some(({ key }) => key === `wep:${options.endpoint}`)) {
    const pods = form.endpoints.map(({ namespace, name }) => `${namespace}/${name}`);
    const where = options.node === undefined ? 'the input' : `the node '${options.node}'`;
    const known = pods.length === 0 ? 'there is none' : `there are ${listed(pods)}`;
    throw new UsageError(`--endpoint: ${where} has no pod '${options.endpoint}' with policies; ${known}`);
  }
  return form;
}

export function authorizerOptions({ requireIdentity, trustDomain, endpoint }: AuthzOptions): AuthorizerOptions {
  return { requireIdentity: requireIdentity === true, trustDomains: trustDomain ?? [], endpoint };
}

/** What the thread of `authz-load-worker.ts` is told. */
export interface LoadQuestion {
  readonly options: AuthzOptions;
  /** Of the form that is in use. */
  readonly digest: string;
}

/** What it says, once. */
export interface LoadAnswer {
  readonly outcome: 'changed' | 'same' | 'refused';
  /** If it has changed. */
  readonly form?: AuthorizationForm;
  readonly digest?: string;
  /** What was said on standard error, without `margay: `. */
  readonly lines: readonly string[];
}

/** `openForm` in a thread, so that requests are answered meanwhile. Rejects with a `WorkerFault` if the thread dies. */
export function loadInThread(question: LoadQuestion): Promise<LoadAnswer> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(threadEntry(import.meta.url, 'authz-load-worker'), {
      workerData: question,
      name: 'margay authz loader',
    });
    // A load that waits for a store must not keep a service that has been told to stop.
    worker.unref();
    worker.once('message', (answer: LoadAnswer) => {
      resolve(answer);
      void worker.terminate();
    });
    worker.once('error', (error) => reject(new WorkerFault(`the thread that loads failed: ${String(error)}`)));
    worker.once('exit', (code) => reject(new WorkerFault(`the thread that loads ended by itself with code ${code}`)));
  });
}

/** `openForm` with all that it says and throws as lines. */
export async function tryOpenForm({ options, digest: known }: LoadQuestion): Promise<LoadAnswer> {
  const lines: string[] = [];
  try {
    const form = await openForm(options, collecting(lines));
    const digest = digestOf(form);
    return digest === known ? { outcome: 'same', lines } : { outcome: 'changed', form, digest, lines };
  } catch (error) {
    if (!(error instanceof ExitError)) lines.push((error as Error).message);
    return { outcome: 'refused', lines };
  }
}

/** Equal forms have equal digests. */
function digestOf(form: AuthorizationForm): string {
  return createHash('sha256').update(JSON.stringify(form)).digest('base64');
}

/** An output that keeps the lines of standard error. */
function collecting(lines: string[]): Output {
  const ignore = { write: () => {}, isTerminal: false, columns: undefined };
  return {
    stdout: ignore,
    stderr: { ...ignore, write: (text) => lines.push(text.trimEnd().replace(/^margay: /, '')) },
    hasColor: false,
    isClosed: () => false,
    interruptible: () => new AbortController().signal,
    flush: () => {},
  };
}
