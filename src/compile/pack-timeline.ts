/** The changes of owners over time, in the form of tables/live.ts. */
import { comparePrefixes } from '../base/ip.ts';
import * as layout from '../tables/layout.ts';
import { CHANGE_AFTER, CHANGE_BEFORE, CHANGE_SIZE, type TimelineData } from '../tables/live.ts';
import { type Owner, type Owners, ownerList, ownersInTime, podAlone } from './owners.ts';
import type { Plan, Prefix } from './plan.ts';
import type { Sections } from './sections.ts';
import type { TimedAddress } from './timed-owners.ts';

interface Change {
  readonly atMs: number;
  readonly address: Prefix;
  readonly words: readonly number[];
}

/**
 * Writes the owner lists of all states into SECTION_INTS and gives the changes between them, by time, then address.
 *
 * @param classes  address classes by address and state
 */
export function packTimeline(
  plan: Plan,
  owners: Owners,
  classes: ReadonlyMap<TimedAddress, readonly number[]>,
  sections: Sections,
): TimelineData {
  const changes: Change[] = [];
  const lists = new Map<string, number>();
  const listOf = (owner: Owner): number => {
    const pod = podAlone(owner);
    if (pod !== undefined) return layout.podAlone(pod);
    const list = ownerList(owner);
    const key = list.join();
    const offset = lists.get(key) ?? sections.ints(list);
    lists.set(key, offset);
    return offset;
  };
  for (const [timed, classOfState] of classes) {
    const { address, states } = timed;
    const offsets = ownersInTime(plan, timed, owners.of(address)).map(listOf);
    for (let i = 1; i < states.length; i++) {
      const words = new Array<number>(CHANGE_SIZE).fill(0);
      words.splice(0, 5, address.version, ...address.words);
      words.splice(CHANGE_BEFORE, 2, classOfState[i - 1]!, offsets[i - 1]!);
      words.splice(CHANGE_AFTER, 2, classOfState[i]!, offsets[i]!);
      changes.push({ atMs: states[i]!.fromMs, address, words });
    }
  }
  changes.sort((a, b) => a.atMs - b.atMs || comparePrefixes(a.address, b.address));
  return {
    times: Float64Array.from(changes, ({ atMs }) => atMs),
    changes: Int32Array.from(changes.flatMap(({ words }) => words)),
  };
}
