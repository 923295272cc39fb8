/** Who an address says it is: the pods that own it, and the accounts that they run as. */
import { claimCount, claimPod, findOwner } from '../match/lookup.ts';
import * as layout from '../tables/layout.ts';
import { endpointName, type Tables, templateText } from '../tables/tables.ts';

export interface NetworkIdentity {
  /** `prod/api-service`, one for each pod that claims the address, without repetition; empty if no pod does. */
  readonly accounts: readonly string[];
  /** `prod/api-0`. */
  readonly pods: readonly string[];
}

const NOBODY: NetworkIdentity = { accounts: [], pods: [] };

/** The owners of the address whose words start at `words[at]`, as the tables now have them (tables/live.ts moves them through time). */
export function networkIdentity(tables: Tables, version: 4 | 6, words: Int32Array, at: number): NetworkIdentity {
  const owner = findOwner(tables, version, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
  const accounts = new Set<string>();
  const pods: string[] = [];
  for (let claim = 0; claim < claimCount(tables, owner); claim++) {
    const endpoint = claimPod(tables, owner, claim);
    if (endpoint === layout.NONE) continue;
    const namespace = templateText(tables, endpoint, layout.TEMPLATE_NAMESPACE);
    pods.push(`${namespace}/${endpointName(tables, endpoint)}`);
    accounts.add(`${namespace}/${templateText(tables, endpoint, layout.TEMPLATE_SERVICE_ACCOUNT)}`);
  }
  return pods.length === 0 ? NOBODY : { accounts: [...accounts], pods };
}
