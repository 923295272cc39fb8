/** What tables need to change their owners while they are in use, in the form of tables/live.ts. */
import * as layout from '../tables/layout.ts';
import { LIVE_SIZE, type LiveData, SPARE_SIZE, SPARE_STRING_BYTES } from '../tables/live.ts';
import type { Plan } from './plan.ts';
import type { Sections } from './sections.ts';
import type { TimedAddress } from './timed-owners.ts';

/**
 * Writes owner lists and spare endpoints. Call after the endpoints.
 *
 * @param classes  by address: the class of nobody, of its owners if it has any, and of doubt
 */
export function packLive(
  plan: Plan,
  classes: ReadonlyMap<TimedAddress, readonly number[]>,
  spareEndpoints: number,
  sections: Sections,
): LiveData {
  const spares = packSpares(spareEndpoints, sections);
  const endpointCount = sections.count(layout.SECTION_ENDPOINTS);
  const lists = new Int32Array(endpointCount);
  for (let endpoint = 0; endpoint < endpointCount; endpoint++) lists[endpoint] = layout.podAlone(endpoint);
  const addresses = new Int32Array(classes.size * LIVE_SIZE);
  let at = 0;
  for (const [{ address, states }, numbers] of classes) {
    const pods = states.at(-1)!.pods;
    const owned = pods.length === 0 ? layout.NONE : numbers[1]!;
    const list =
      pods.length === 0
        ? layout.NONE
        : pods.length === 1
          ? lists[pods[0]!]!
          : sections.ints([pods.length, ...pods, 0, 0]);
    const single = pods.length === 1 && pods[0]! < plan.endpoints.length ? pods[0]! : layout.NONE;
    addresses.set([address.version, ...address.words, numbers[0]!, numbers.at(-1)!, owned, list, single], at);
    at += LIVE_SIZE;
  }
  return { addresses, nobody: sections.ints([0, 0, 0]), lists, spares };
}

/** Endpoints that are nobody yet, each with room for its names. */
function packSpares(count: number, sections: Sections): Int32Array {
  const spares = new Int32Array(count * SPARE_SIZE);
  const room = (spare: number, what: string): number =>
    sections.string(`\0${spare} ${what}`.padEnd(SPARE_STRING_BYTES, '\0'));
  const empty = sections.string('');
  for (let spare = 0; spare < count; spare++) {
    const names = [room(spare, 'key'), room(spare, 'name'), room(spare, 'uid')] as const;
    const words = new Array<number>(layout.ENDPOINT_SIZE).fill(0);
    for (const word of [layout.ENDPOINT_NAMESPACE, layout.ENDPOINT_SERVICE_ACCOUNT, layout.ENDPOINT_INTERFACE])
      words[word] = empty;
    words[layout.ENDPOINT_KIND] = layout.KIND_WEP;
    words[layout.ENDPOINT_KEY] = names[0];
    words[layout.ENDPOINT_NAME] = names[1];
    words[layout.ENDPOINT_UID] = names[2];
    for (const word of [layout.ENDPOINT_NODE, layout.ENDPOINT_GROUP, layout.ENDPOINT_CHAINS]) words[word] = layout.NONE;
    spares.set([sections.record(layout.SECTION_ENDPOINTS, words), ...names], spare * SPARE_SIZE);
  }
  return spares;
}
