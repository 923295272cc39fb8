/** Who an address says it is: the pods that own it, and the accounts that they run as. */
import { parseAddress } from '../base/ip.ts';
import { claimCount, claimPod, findOwner } from '../match/lookup.ts';
import * as layout from '../tables/layout.ts';
import { type Tables, textField } from '../tables/tables.ts';

export interface NetworkIdentity {
  /** `prod/api-service`, one for each pod that claims the address, without repetition; empty if no pod does. */
  readonly accounts: readonly string[];
  /** `prod/api-0`. */
  readonly pods: readonly string[];
}

const NOBODY: NetworkIdentity = { accounts: [], pods: [] };

/**
 * The owners of an address at a time. The tables hold one owner for all time, so the time is not asked yet; whoever gives them a history
 * has to change this function alone.
 */
export function networkIdentity(tables: Tables, address: string, _timeMs: number): NetworkIdentity {
  const parsed = parseAddress(address);
  if (parsed === undefined) return NOBODY;
  const [w0, w1, w2, w3] = parsed.words;
  const owner = findOwner(tables, parsed.version, w0, w1, w2, w3);
  const accounts = new Set<string>();
  const pods: string[] = [];
  for (let claim = 0; claim < claimCount(tables, owner); claim++) {
    const endpoint = claimPod(tables, owner, claim);
    if (endpoint === layout.NONE) continue;
    const text = (word: number): string => textField(tables, layout.SECTION_ENDPOINTS, endpoint, word);
    const namespace = text(layout.ENDPOINT_NAMESPACE);
    pods.push(`${namespace}/${text(layout.ENDPOINT_NAME)}`);
    accounts.add(`${namespace}/${text(layout.ENDPOINT_SERVICE_ACCOUNT)}`);
  }
  return pods.length === 0 ? NOBODY : { accounts: [...accounts], pods };
}
