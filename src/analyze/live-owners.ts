/**
 * Owners of addresses that change while packets are judged: from a reader's changes to stores in the tables.
 *
 * Everything that a pod can mean to a policy was compiled for the pods there were: a pod that comes with labels, account, node and ports that another
 * has, at an address of the same kind, means what that one means. So it gets a spare endpoint with its own names, and its address the class that
 * addresses of such a pod have. What no pod was like before, a pod that changes, labels of accounts and namespaces that change, need new tables:
 * `isOutdated` asks for them, and until they are there the address is in doubt, and verdicts about it are `no-identity`, not a guess.
 *
 * A `LiveCompiler` (compile/live-compiler.ts) could be told of a publisher's changes as pods, and would write labels that change as well. It is not the way
 * here: an address that two claim, as the old owner and the next do for a moment, makes it pack anew, which takes seconds in a large cluster, where
 * `no-identity` is the answer that is wanted; and it keeps the plan and all that the pack was made from (1.3 KB a pod) and a second buffer.
 *
 *   set ep 10.0.0.5 = shop/web uid ─► pod like web-0 on node-1? ─► spare endpoint, class of (kind of address, kind of pod) ─► two stores
 */

import { formatAddress, type Words } from '../base/ip.ts';
import type { Plan } from '../compile/plan.ts';
import type { Change, PodDetails } from '../identity/keys.ts';
import { portObject, sortedObject } from '../identity/record.ts';
import type { IdentityTable } from '../identity/table.ts';
import { NONE } from '../tables/layout.ts';
import {
  fillSpare,
  LIVE_ADDRESS,
  LIVE_DOUBT,
  LIVE_ENDPOINT,
  LIVE_LIST,
  LIVE_OWNED,
  LIVE_SIZE,
  LIVE_VACANT,
  LIVE_VERSION,
  type LiveData,
  type OnStore,
  SPARE_SIZE,
  setAddressOwner,
} from '../tables/live.ts';
import type { Tables } from '../tables/tables.ts';

/** Called with each address that has another owner, to forget its past (owner-changes.ts). */
export type OnOwner = (version: number, words: Int32Array, at: number) => void;

export class LiveOwners {
  /** New tables are needed: something came that these know nothing like. */
  isOutdated = false;
  /** Addresses whose owner was switched, and that were left in doubt. */
  switched = 0;
  doubted = 0;
  onOwner: OnOwner;
  /** Called with what is stored from now on. */
  onStore: OnStore | undefined;
  readonly #tables: Tables;
  readonly #data: LiveData;
  readonly #source: IdentityTable;
  /** Word offset in `data.addresses`, by text. */
  readonly #addresses = new Map<string, number>();
  /** Endpoints by short uid, and the first endpoint of each shape. */
  readonly #endpoints = new Map<string, number>();
  readonly #models = new Map<number, number>();
  readonly #shapes = new Map<number, number>();
  readonly #shapeNumbers = new Map<string, number>();
  /** By version, class of nobody, and shape: the class of an address that such a pod owns. */
  readonly #classes = new Map<string, number>();
  #spare = 0;

  /** `source` is what the plan was made of; the tables are those of `packTimedPlan` with `live`. */
  constructor(tables: Tables, data: LiveData, plan: Plan, source: IdentityTable, onOwner: OnOwner = () => {}) {
    this.#tables = tables;
    this.#data = data;
    this.#source = source;
    this.onOwner = onOwner;
    this.#learnPods(plan);
    const { addresses } = data;
    for (let at = 0; at < addresses.length; at += LIVE_SIZE) {
      const version = addresses[at + LIVE_VERSION]! as 4 | 6;
      const words = [...addresses.subarray(at + LIVE_ADDRESS, at + LIVE_ADDRESS + 4)] as unknown as Words;
      this.#addresses.set(formatAddress({ version, words }), at);
      const shape = this.#shapes.get(addresses[at + LIVE_ENDPOINT]!);
      const owned = addresses[at + LIVE_OWNED]!;
      if (owned === NONE) continue;
      if (shape !== undefined) this.#classes.set(this.#classKey(at, shape), owned);
      this.#store(at, owned, addresses[at + LIVE_LIST]!);
    }
  }

  #learnPods(plan: Plan): void {
    const byName = new Map(plan.endpoints.map(({ key, uid }, i) => [`${key} ${uid}`, i]));
    for (const [uid, pod] of this.#source.pods) {
      const fullUid = pod.uid === pod.pod ? '' : pod.uid;
      const endpoint = byName.get(`wep:${pod.pod} ${fullUid}`) ?? byName.get(`wep:${pod.pod} `);
      if (endpoint === undefined) continue;
      const shape = this.#shapeOf(pod);
      this.#endpoints.set(uid, endpoint);
      this.#shapes.set(endpoint, shape);
      if (!this.#models.has(shape)) this.#models.set(shape, endpoint);
    }
  }

  /** After the reader applied it to the source. */
  apply({ kind, key }: Change): void {
    if (kind === 'ep') this.#settle(key);
    else if (kind === 'pod') this.#checkPod(key);
    else if (kind !== 'sig') this.isOutdated = true;
  }

  /** A pod that is known and is now another. */
  #checkPod(uid: string): void {
    const endpoint = this.#endpoints.get(uid);
    const pod = this.#source.pods.get(uid);
    if (endpoint === undefined || pod === undefined || this.#shapes.get(endpoint) === this.#shapeOf(pod)) return;
    this.isOutdated = true;
  }

  #settle(address: string): void {
    const at = this.#addresses.get(address);
    if (at === undefined) {
      this.isOutdated = true;
      return;
    }
    const { addresses, nobody, lists } = this.#data;
    const owners = this.#source.owners.get(address);
    if (owners === undefined) {
      this.#switch(at, addresses[at + LIVE_VACANT]!, nobody);
      return;
    }
    const uid = owners.length === 1 ? owners[0]!.uid : undefined;
    const endpoint = uid === undefined ? undefined : this.#endpointOf(uid);
    const owned =
      endpoint === undefined ? undefined : this.#classes.get(this.#classKey(at, this.#shapes.get(endpoint)!));
    if (owned !== undefined) {
      this.#switch(at, owned, lists[endpoint!]!);
      return;
    }
    // Two owners are usually the old one and the next, for a moment.
    if (uid !== undefined) this.isOutdated = true;
    this.doubted++;
    this.#switch(at, addresses[at + LIVE_DOUBT]!, nobody);
  }

  /** The endpoint of a pod: as it was compiled, or a spare that becomes one. */
  #endpointOf(uid: string): number | undefined {
    const known = this.#endpoints.get(uid);
    if (known !== undefined) return known;
    const pod = this.#source.pods.get(uid);
    if (pod === undefined) return undefined;
    const shape = this.#shapeOf(pod);
    const model = this.#models.get(shape);
    if (model === undefined || this.#spare * SPARE_SIZE >= this.#data.spares.length) return undefined;
    const names = { key: `wep:${pod.pod}`, uid: pod.uid === pod.pod ? '' : pod.uid };
    const endpoint = fillSpare(this.#tables, this.#data, this.#spare++, model, names, this.onStore);
    this.#endpoints.set(uid, endpoint);
    this.#shapes.set(endpoint, shape);
    return endpoint;
  }

  #switch(at: number, classNumber: number, list: number): void {
    this.switched++;
    this.#store(at, classNumber, list);
    this.onOwner(this.#data.addresses[at + LIVE_VERSION]!, this.#data.addresses, at + LIVE_ADDRESS);
  }

  #store(at: number, classNumber: number, list: number): void {
    const { addresses } = this.#data;
    const version = addresses[at + LIVE_VERSION]!;
    setAddressOwner(this.#tables, version, addresses, at + LIVE_ADDRESS, classNumber, list, this.onStore);
  }

  /** Pods that no policy can tell apart, on one node, have one number. */
  #shapeOf(pod: PodDetails): number {
    const text = shapeText(pod);
    let shape = this.#shapeNumbers.get(text);
    if (shape === undefined) {
      shape = this.#shapeNumbers.size;
      this.#shapeNumbers.set(text, shape);
    }
    return shape;
  }

  #classKey(at: number, shape: number): string {
    const { addresses } = this.#data;
    return `${addresses[at + LIVE_VERSION]} ${addresses[at + LIVE_VACANT]} ${shape}`;
  }
}

/** Equal for pods that no policy can tell apart, on one node. */
function shapeText({ pod, node, account, labels, ports, annotations }: PodDetails): string {
  const namespace = pod.slice(0, pod.indexOf('/'));
  const maps = [labels, annotations].map((map) => (map.size === 0 ? 0 : sortedObject(map)));
  return JSON.stringify([namespace, node, account, ports.length === 0 ? 0 : ports.map(portObject), ...maps]);
}
