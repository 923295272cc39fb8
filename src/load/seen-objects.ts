/**
 * The objects of a load by kind, namespace and name, to find those that are there twice.
 *
 * A dump brings 250 000 names, nearly all of which are asked for once. So what is kept of each is a number in a table with open addressing, at
 * most half full: a `Map` by name, or one text of all three a key, takes several times as long. Names with equal hashes are told apart by content.
 */
import type { ObjectMeta } from '../model/resources.ts';

const SLOTS_AT_FIRST = 256;

export class SeenObjects {
  /** A number for each kind and namespace. */
  readonly #groups = new Map<string, Map<string, number>>();
  #groupCount = 0;
  /* Those of the object asked for last: neighbours mostly share them. */
  #lastKind = '';
  #lastNamespace = '';
  #lastGroup = -1;
  /* By object. */
  readonly #metas: ObjectMeta[] = [];
  readonly #groupOf: number[] = [];
  readonly #hashes: number[] = [];
  /** 1 + object, 0 = empty. */
  #slots = new Int32Array(SLOTS_AT_FIRST);

  /** Adds an object; or gives the one that was there before with its kind, namespace and name. */
  add(kind: string, meta: ObjectMeta): ObjectMeta | undefined {
    const group = this.#groupFor(kind, meta.namespace);
    const hash = hashOf(meta.name, group);
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (;;) {
      const object = this.#slots[slot]! - 1;
      if (object < 0) break;
      if (this.#hashes[object] === hash && this.#groupOf[object] === group) {
        const other = this.#metas[object]!;
        if (other.name === meta.name) return other;
      }
      slot = (slot + 1) & mask;
    }
    this.#metas.push(meta);
    this.#groupOf.push(group);
    this.#hashes.push(hash);
    this.#slots[slot] = this.#metas.length;
    if (2 * this.#metas.length > this.#slots.length) this.#grow();
    return undefined;
  }

  #groupFor(kind: string, namespace: string): number {
    if (this.#lastKind === kind && this.#lastNamespace === namespace && this.#lastGroup >= 0) return this.#lastGroup;
    let groups = this.#groups.get(kind);
    if (groups === undefined) {
      groups = new Map();
      this.#groups.set(kind, groups);
    }
    let group = groups.get(namespace);
    if (group === undefined) {
      group = this.#groupCount++;
      groups.set(namespace, group);
    }
    this.#lastKind = kind;
    this.#lastNamespace = namespace;
    this.#lastGroup = group;
    return group;
  }

  #grow(): void {
    const slots = new Int32Array(2 * this.#slots.length);
    const mask = slots.length - 1;
    const hashes = this.#hashes;
    for (let object = 0; object < hashes.length; object++) {
      let slot = hashes[object]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = object + 1;
    }
    this.#slots = slots;
  }
}

/** FNV-1a over the code units, with a last stir, since the low bits choose the slot. */
function hashOf(name: string, group: number): number {
  let hash = Math.imul(group + 1, 0x9e3779b1);
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash ^ (hash >>> 15);
}
