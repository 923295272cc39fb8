/** What tables need to change their owners while they are in use, in the form of tables/live.ts. */
import * as layout from '../tables/layout.ts';
import { LIVE_SIZE, type LiveData, SPARE_SIZE, SPARE_STRING_BYTES } from '../tables/live.ts';
import type { EndpointWriter } from './pack-endpoints.ts';
import type { Plan } from './plan.ts';
import type { Sections } from './sections.ts';
import type { TimedAddress } from './timed-owners.ts';

/**
 * Writes owner lists and spare endpoints. Call after the endpoints.
 *
 * @param writer  the one that wrote those
 * @param classes  by address: the class of nobody, of its owners if it has any, and of doubt
 */
export function packLive(
  plan: Plan,
  classes: ReadonlyMap<TimedAddress, readonly number[]>,
  spareEndpoints: number,
  sections: Sections,
  writer: EndpointWriter,
): LiveData {
  const spares = packSpares(spareEndpoints, sections, writer);
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

/** Endpoints that are nobody yet, each with room for its key and UID. */
function packSpares(count: number, sections: Sections, writer: EndpointWriter): Int32Array {
  const spares = new Int32Array(count * SPARE_SIZE);
  const room = (spare: number, what: string): number =>
    sections.string(`\0${spare} ${what}`.padEnd(SPARE_STRING_BYTES, '\0'));
  const template = writer.bareTemplate('', '', layout.NONE);
  for (let spare = 0; spare < count; spare++) {
    const names = [room(spare, 'key'), room(spare, 'uid')] as const;
    const words = new Array<number>(layout.ENDPOINT_SIZE).fill(0);
    words[layout.ENDPOINT_KEY] = names[0];
    words[layout.ENDPOINT_TEMPLATE] = template;
    words[layout.ENDPOINT_NODE] = layout.NONE;
    words[layout.ENDPOINT_UID] = names[1];
    words[layout.ENDPOINT_INTERFACE] = sections.string('');
    spares.set([sections.record(layout.SECTION_ENDPOINTS, words), ...names], spare * SPARE_SIZE);
  }
  return spares;
}
