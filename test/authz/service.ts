/** A running service for tests: a small cluster, a log that is kept, and everything taken away at the end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Authorizer, type AuthorizerOptions } from '../../src/authz/authorizer.ts';
import { DenialLog } from '../../src/authz/denial-log.ts';
import { type ListenAddress, parseListen } from '../../src/authz/listen.ts';
import { AuthzMetrics } from '../../src/authz/metrics.ts';
import { AuthzServer } from '../../src/authz/server.ts';
import { authorizationForm } from '../../src/compile/authorization.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { loadResources } from '../../src/load/load.ts';
import { CLUSTER, dbAllowsFrom } from '../rows/cluster.ts';
import { account, documents, pod } from '../rows/objects.ts';
import { AuthzClient } from './client.ts';

export const API = '10.0.0.2';
export const API6 = 'fd00::2';
export const WEB = '10.0.0.3';

/** `app/db` takes TCP from `app/api` alone, and of HTTP only what starts with /pub. */
export const CLUSTER_TEXT = documents(
  ...CLUSTER,
  account('app/api'),
  account('app/web'),
  pod('app/api', { ip: [API, API6], account: 'api' }),
  pod('app/web', { ip: WEB, account: 'web' }),
);
export const POLICY_TEXT = documents(
  dbAllowsFrom({ serviceAccounts: { names: ['api'] } }, { protocol: 'TCP', http: { paths: [{ prefix: '/pub' }] } }),
);
/** The same for `app/web`. */
export const OTHER_POLICY_TEXT = documents(dbAllowsFrom({ serviceAccounts: { names: ['web'] } }));

export function authorizerFor(text: string, options: AuthorizerOptions = {}, rememberedMax?: number): Authorizer {
  const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }]);
  if (errors.length > 0) throw new Error(JSON.stringify(errors[0]));
  return new Authorizer(authorizationForm(planCluster(resources)), options, rememberedMax);
}

export const AUTHORIZER_TEXT = `${CLUSTER_TEXT}\n---\n${POLICY_TEXT}`;

export interface Service {
  readonly server: AuthzServer;
  readonly metrics: AuthzMetrics;
  /** Lines of the log, parsed. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  /** A client with a connection of its own; closed at the end. */
  readonly client: () => AuthzClient;
  readonly close: () => Promise<void>;
}

export async function startService(
  listen: ListenAddress = parseListen('127.0.0.1:0', '--listen'),
  authorizer: Authorizer | undefined = authorizerFor(AUTHORIZER_TEXT),
): Promise<Service> {
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { base: null },
    { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  );
  const metrics = new AuthzMetrics();
  const server = new AuthzServer({ listen, log, denials: new DenialLog(log), metrics });
  server.use(authorizer);
  await server.start();
  const clients: AuthzClient[] = [];
  return {
    server,
    metrics,
    lines,
    client: () => {
      const client = new AuthzClient(server.address);
      clients.push(client);
      return client;
    },
    close: async () => {
      for (const client of clients) client.close();
      await server.stop();
    },
  };
}

/** A folder of its own, and how to remove it. */
export function scratchFolder(): { readonly path: (name: string) => string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'margay-authz-'));
  return { path: (name) => join(folder, name), remove: () => rmSync(folder, { recursive: true }) };
}

/** Waits until `condition` holds, at most ten seconds. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`it did not come to this: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
