/**
 * How many there are of what the agent shows, kept while objects come and go: endpoints, those that are local, pods by account, and the warnings of a
 * load that speak of pods (load/consistency.ts): one for each account that is missing, and one for all pods without an address.
 */
import type { PlanEndpoint } from '../compile/plan.ts';
import { lacksAddress } from '../load/consistency.ts';
import { accountKeys } from '../load/defaults.ts';
import type { Pod, Resources } from '../model/resources.ts';

export class Census {
  endpoints = 0;
  localEndpoints = 0;
  readonly #node: string | undefined;
  readonly #pods = new Map<string, number>();
  #accounts: ReadonlySet<string> = new Set();
  #withoutAddress = 0;
  readonly #missingAccounts = new Map<string, number>();

  /** `node`: the one whose endpoints are local; undefined = all are. */
  constructor(node: string | undefined, endpoints: readonly PlanEndpoint[] = []) {
    this.#node = node;
    for (const endpoint of endpoints) this.addEndpoint(endpoint, 1);
  }

  /** Counts the pods of warnings anew. */
  countPods({ pods, serviceAccounts }: Resources): void {
    this.#accounts = accountKeys(serviceAccounts);
    this.#withoutAddress = 0;
    this.#missingAccounts.clear();
    for (const pod of pods) this.addPod(pod, 1);
  }

  /** `count` is 1 for one that comes, -1 for one that goes. */
  addEndpoint({ kind, node, namespace, serviceAccount }: PlanEndpoint, count: 1 | -1): void {
    this.endpoints += count;
    if (this.#node === undefined || node === this.#node) this.localEndpoints += count;
    if (kind === 'wep') addTo(this.#pods, `${namespace}/${serviceAccount}`, count);
  }

  addPod(pod: Pod, count: 1 | -1): void {
    if (lacksAddress(pod)) this.#withoutAddress += count;
    const { serviceAccountName } = pod;
    const account = `${pod.meta.namespace}/${serviceAccountName}`;
    if (serviceAccountName !== '' && !this.#accounts.has(account)) addTo(this.#missingAccounts, account, count);
  }

  get podWarnings(): number {
    return this.#missingAccounts.size + (this.#withoutAddress > 0 ? 1 : 0);
  }

  /** Pods by `namespace/account`. */
  get accountPods(): readonly (readonly [string, number])[] {
    return [...this.#pods];
  }
}

function addTo(counts: Map<string, number>, key: string, count: number): void {
  const sum = (counts.get(key) ?? 0) + count;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}
