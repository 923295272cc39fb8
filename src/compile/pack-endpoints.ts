/** Packing of endpoints and of what they have in common: SECTION_ENDPOINTS and SECTION_TEMPLATES (tables/layout.ts). */
import { WordInterner } from '../base/word-interner.ts';
import { zeroWords } from '../base/words.ts';
import * as layout from '../tables/layout.ts';
import { sortedLabels } from './labels.ts';
import type { SlotsOf } from './pack-addresses.ts';
import type { Plan, PlanEndpoint, PlanRejectedPod, Prefix } from './plan.ts';
import type { Sections } from './sections.ts';

/** Writes all endpoints of a plan, then its refused pods; gives what can write more. */
export function packEndpoints(plan: Plan, slotsOf4: SlotsOf, slotsOf6: SlotsOf, sections: Sections): EndpointWriter {
  const nodes = new Map(plan.nodes.map((node, index) => [node.name, index]));
  const writer = new EndpointWriter(nodes, slotsOf4, slotsOf6, sections);
  const records = sections.section(layout.SECTION_ENDPOINTS);
  const first = records.extend(plan.endpoints.length * layout.ENDPOINT_SIZE);
  const { room } = records;
  plan.endpoints.forEach((endpoint, index) => {
    writer.write(endpoint, index, room, first + index * layout.ENDPOINT_SIZE);
  });
  plan.rejectedPods.forEach((pod, index) => {
    const template = rejectedTemplate(pod, writer, plan.endpoints.length + index);
    sections.record(layout.SECTION_ENDPOINTS, rejectedPod(pod, template, nodes, sections));
  });
  return writer;
}

/** Lists of labels, and texts in them, that are known without a look into the pools. */
const KNOWN_LABELS_MAX = 2 ** 17;
const KNOWN_TEXTS_MAX = 8192;

/** Strings and prefixes of an endpoint that is gone, for the next one. */
export interface SpareEndpoint {
  readonly key: string;
  readonly uid: string;
  readonly keyString: number;
  readonly uidString: number;
  readonly firstAddress: number;
  readonly addressCount: number;
}

/** A template that was asked for, and an endpoint and its chains that have it. */
interface KnownTemplate {
  readonly endpoint: PlanEndpoint;
  readonly chains: number;
  readonly template: number;
}

/** Writes records of SECTION_ENDPOINTS, and templates for them. What a pod has in common with the last one of its group is not looked up again. */
export class EndpointWriter {
  readonly #nodes: ReadonlyMap<string, number>;
  readonly #slotsOf4: SlotsOf;
  readonly #slotsOf6: SlotsOf;
  readonly #sections: Sections;
  readonly #offsets = new Map<readonly number[], Map<readonly number[], number>>();
  readonly #labels = new Map<PlanEndpoint['labels'], number>();
  readonly #empty: number;
  /** Strings of templates: many of them have the same. */
  readonly #common = new Map<string, number>();
  /** Numbers templates by their words: a number is the index of the record. */
  readonly #templates = new WordInterner();
  readonly #words = zeroWords(layout.TEMPLATE_SIZE);
  /** By group: the template that was asked for last. */
  readonly #ofGroup: KnownTemplate[] = [];

  constructor(nodes: ReadonlyMap<string, number>, slotsOf4: SlotsOf, slotsOf6: SlotsOf, sections: Sections) {
    this.#nodes = nodes;
    this.#slotsOf4 = slotsOf4;
    this.#slotsOf6 = slotsOf6;
    this.#sections = sections;
    this.#empty = sections.string('');
  }

  /** `spare`: what was left by an endpoint that is gone. */
  write(endpoint: PlanEndpoint, index: number, room: Int32Array, at: number, spare?: SpareEndpoint): void {
    const sections = this.#sections;
    const { key, uid, addresses, interfaceName } = endpoint;
    const empty = this.#empty;
    const knownKey = spare?.key === key ? spare.keyString : undefined;
    room[at + layout.ENDPOINT_KEY] = knownKey ?? sections.uniqueString(key);
    room[at + layout.ENDPOINT_TEMPLATE] = this.#templateOf(endpoint, this.chainsOf(index));
    room[at + layout.ENDPOINT_NODE] = this.#nodes.get(endpoint.node) ?? layout.NONE;
    const knownUid = spare?.uid === uid ? spare.uidString : undefined;
    room[at + layout.ENDPOINT_UID] = uid === '' ? empty : (knownUid ?? sections.uniqueString(uid));
    const place = spare?.addressCount === addresses.length ? spare.firstAddress : undefined;
    room[at + layout.ENDPOINT_ADDRESSES] = this.#prefixes(addresses, place);
    room[at + layout.ENDPOINT_ADDRESSES + 1] = addresses.length;
    room[at + layout.ENDPOINT_INTERFACE] = interfaceName === '' ? empty : sections.string(interfaceName);
    room[at + layout.ENDPOINT_LINE] = endpoint.origin.line;
  }

  /** Pods of one group share their lists of slots, so a list is looked up by itself before it is looked up by content. */
  chainsOf(endpoint: number): number {
    const slots4 = this.#slotsOf4[endpoint];
    const slots6 = this.#slotsOf6[endpoint];
    if (slots4 === undefined || slots6 === undefined) return layout.NONE;
    let bySlots6 = this.#offsets.get(slots4);
    if (bySlots6 === undefined) {
      bySlots6 = new Map();
      this.#offsets.set(slots4, bySlots6);
    }
    let offset = bySlots6.get(slots6);
    if (offset === undefined) {
      offset = this.#sections.ints([...slots4, ...slots6]);
      bySlots6.set(slots6, offset);
    }
    return offset;
  }

  #templateOf(endpoint: PlanEndpoint, chains: number): number {
    const { group } = endpoint;
    const last = this.#ofGroup[group];
    if (last !== undefined && last.chains === chains && hasSameTemplate(last.endpoint, endpoint)) return last.template;
    const { labels, allowedSources } = endpoint;
    const words = this.#words;
    words[layout.TEMPLATE_KIND] = endpoint.kind === 'wep' ? layout.KIND_WEP : layout.KIND_HEP;
    words[layout.TEMPLATE_NAMESPACE] = this.#commonString(endpoint.namespace);
    words[layout.TEMPLATE_SERVICE_ACCOUNT] = this.#commonString(endpoint.serviceAccount);
    words[layout.TEMPLATE_LABELS] = this.#labelsAt(labels);
    words[layout.TEMPLATE_LABELS + 1] = labels.size;
    words[layout.TEMPLATE_GROUP] = group;
    words[layout.TEMPLATE_FILE] = this.#commonString(endpoint.origin.file);
    words[layout.TEMPLATE_CHAINS] = chains;
    words[layout.TEMPLATE_ALLOWED_SOURCES] = this.#prefixes(allowedSources);
    words[layout.TEMPLATE_ALLOWED_SOURCES + 1] = allowedSources.length;
    const template = this.#numberOf(words);
    this.#ofGroup[group] = { endpoint, chains, template };
    return template;
  }

  /** The template that is `template` with other chains. */
  templateWith(template: number, chains: number): number {
    this.#words.set(this.#templates.array(template));
    this.#words[layout.TEMPLATE_CHAINS] = chains;
    return this.#numberOf(this.#words);
  }

  /** The template of pods that are in no group, so nobody's peers: without account, labels and sources. */
  bareTemplate(namespace: string, file: string, chains: number): number {
    const words = this.#words.fill(0);
    words[layout.TEMPLATE_KIND] = layout.KIND_WEP;
    words[layout.TEMPLATE_NAMESPACE] = this.#commonString(namespace);
    words[layout.TEMPLATE_SERVICE_ACCOUNT] = this.#empty;
    words[layout.TEMPLATE_GROUP] = layout.NONE;
    words[layout.TEMPLATE_FILE] = this.#commonString(file);
    words[layout.TEMPLATE_CHAINS] = chains;
    return this.#numberOf(words);
  }

  /** The record of these words, which is written if there is none. */
  #numberOf(words: Int32Array): number {
    const known = this.#templates.count;
    const number = this.#templates.number(words);
    if (number === known) this.#sections.section(layout.SECTION_TEMPLATES).append(words);
    return number;
  }

  #labelsAt(labels: PlanEndpoint['labels']): number {
    if (labels.size === 0) return 0;
    let offset = this.#labels.get(labels);
    if (offset === undefined) {
      const strings = new Array<number>(2 * labels.size);
      for (const [i, [key, value]] of sortedLabels(labels).entries()) {
        strings[2 * i] = this.#commonString(key);
        strings[2 * i + 1] = this.#commonString(value);
      }
      offset = this.#sections.ints(strings);
      if (this.#labels.size >= KNOWN_LABELS_MAX) this.#labels.clear();
      this.#labels.set(labels, offset);
    }
    return offset;
  }

  #commonString(text: string): number {
    const known = this.#common.get(text);
    if (known !== undefined) return known;
    const string = this.#sections.string(text);
    if (this.#common.size < KNOWN_TEXTS_MAX) this.#common.set(text, string);
    return string;
  }

  /** Where the list of these prefixes starts; `place`: where it shall. */
  #prefixes(prefixes: readonly Prefix[], place?: number): number {
    if (prefixes.length === 0) return 0;
    const sections = this.#sections;
    const start = place ?? sections.count(layout.SECTION_PREFIXES);
    for (let i = 0; i < prefixes.length; i++) {
      if (place === undefined) sections.prefix(prefixes[i]!);
      else sections.setPrefix(place + i, prefixes[i]!);
    }
    return start;
  }
}

/** Whether endpoints of one group with the same chains have one template. Equal labels of a dump are one map (load/pod-fields.ts). */
function hasSameTemplate(a: PlanEndpoint, b: PlanEndpoint): boolean {
  return (
    a.labels === b.labels &&
    a.namespace === b.namespace &&
    a.serviceAccount === b.serviceAccount &&
    a.origin.file === b.origin.file &&
    a.kind === b.kind &&
    a.allowedSources.length + b.allowedSources.length === 0
  );
}

/** A refused pod has an owner's place and chains that deny, but no labels and no group: it is nobody's peer. */
function rejectedTemplate({ key, origin }: PlanRejectedPod, writer: EndpointWriter, endpoint: number): number {
  const namespace = key.slice(key.indexOf(':') + 1, key.indexOf('/'));
  return writer.bareTemplate(namespace, origin.file, writer.chainsOf(endpoint));
}

function rejectedPod(
  { key, node, addresses, origin }: PlanRejectedPod,
  template: number,
  nodes: ReadonlyMap<string, number>,
  sections: Sections,
): number[] {
  return [
    sections.string(key),
    template,
    nodes.get(node)!,
    sections.string(''),
    ...sections.prefixList(addresses),
    sections.string(''),
    origin.line,
  ];
}
