/**
 * Drafts of endpoints and network sets to the numbered groups and endpoints of the plan.
 *
 * Endpoints are sorted by key, and groups numbered as they first appear in that order, network-set groups after them by
 * the name of their first set: numbers depend on content alone.
 */
import type { GroupIdentity } from './groups.ts';
import type { NetworkSetDraft } from './hosts.ts';
import { sortedPrefixes } from './ip-sets.ts';
import type { PlanEndpoint, Prefix } from './plan.ts';
import { type EndpointDraft, UNPLACED } from './pods.ts';
import { sortByKey } from './sort-by-key.ts';

/** A group of the plan, but for its policies. */
export class AssembledGroup {
  readonly identity: GroupIdentity;
  readonly endpoints: number[] = [];
  readonly networkSets: string[] = [];
  /** Lists of prefixes of all members. */
  readonly #lists: (readonly Prefix[])[] = [];
  #prefixes: readonly Prefix[] | undefined;

  constructor(identity: GroupIdentity) {
    this.identity = identity;
  }

  addPrefixes(prefixes: readonly Prefix[]): void {
    if (prefixes.length > 0) this.#lists.push(prefixes);
  }

  get hasPrefixes(): boolean {
    return this.#lists.length > 0;
  }

  /** Sorted, each once. Put together when first asked for: tables are made from the addresses of endpoints. */
  get prefixes(): readonly Prefix[] {
    this.#prefixes ??= sortedPrefixes(this.#lists.flat());
    return this.#prefixes;
  }
}

export interface Assembly {
  readonly endpoints: readonly PlanEndpoint[];
  readonly groups: readonly AssembledGroup[];
}

/** `allowedSources` has the endpoints that may send from other addresses than their own. */
export function assemble(
  drafts: readonly EndpointDraft[],
  allowedSources: ReadonlyMap<EndpointDraft, readonly Prefix[]>,
  sets: readonly NetworkSetDraft[],
): Assembly {
  const sortedEndpoints = sortByKey(drafts, ({ key }) => key);
  const sortedSets = sortByKey(sets, ({ key }) => key);
  const numbers = new Map<GroupIdentity, number>();
  const groups: AssembledGroup[] = [];
  let lastIdentity: GroupIdentity | undefined;
  let lastNumber = -1;
  const numberOf = (identity: GroupIdentity): number => {
    if (identity !== lastIdentity) {
      lastIdentity = identity;
      lastNumber = numbers.get(identity) ?? groups.push(new AssembledGroup(identity)) - 1;
      numbers.set(identity, lastNumber);
    }
    return lastNumber;
  };
  const endpoints: PlanEndpoint[] = new Array(sortedEndpoints.length);
  for (let index = 0; index < sortedEndpoints.length; index++) {
    const draft = sortedEndpoints[index]!;
    const number = numberOf(draft.identity);
    const group = groups[number]!;
    group.endpoints.push(index);
    group.addPrefixes(draft.addresses);
    endpoints[index] = placed(draft, number, allowedSources.size === 0 ? NONE : (allowedSources.get(draft) ?? NONE));
  }
  for (const { key, prefixes, identity } of sortedSets) {
    const group = groups[numberOf(identity)]!;
    group.networkSets.push(key);
    group.addPrefixes(prefixes);
  }
  return { endpoints, groups };
}

const NONE: readonly never[] = [];

/** The draft itself, unless it stands elsewhere in a plan that was made before. */
function placed(draft: EndpointDraft, group: number, allowedSources: readonly Prefix[]): PlanEndpoint {
  const hasSources = draft.allowedSources.length + allowedSources.length > 0;
  if (draft.group === group && !hasSources) return draft;
  if (draft.group !== UNPLACED || hasSources) return { ...draft, group, allowedSources };
  (draft as { group: number }).group = group;
  return draft;
}
