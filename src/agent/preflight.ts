/** What can be known to be missing before anything starts: paths that do not exist, a cluster that is nowhere named. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { PolicyError, quoteText } from '../base/errors.ts';
import { expandFiles } from '../load/files.ts';
import type { AgentConfig } from './config.ts';

const IN_CLUSTER = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** Throws `PolicyError`. What files hold is looked at later, and again whenever it changes. */
export function checkPaths({ filename, recursive, kubernetes, kubeconfig }: AgentConfig): void {
  if (!kubernetes) {
    expandFiles(filename, recursive);
    return;
  }
  if (kubeconfig !== undefined) {
    if (existsSync(kubeconfig)) return;
    throw new PolicyError('no-such-file', `--kubeconfig: ${quoteText(kubeconfig)} does not exist`, {
      fix: 'correct the path',
    });
  }
  const { KUBECONFIG } = process.env;
  const isNamed = (KUBECONFIG ?? '') !== '' || existsSync(join(homedir(), '.kube/config')) || existsSync(IN_CLUSTER);
  if (isNamed) return;
  throw new PolicyError('no-cluster', '--kubernetes: no cluster is named here, and this is no pod of one', {
    fix: 'give --kubeconfig FILE, or set KUBECONFIG',
  });
}
