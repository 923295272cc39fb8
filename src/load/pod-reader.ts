/**
 * Pods straight from the bytes of a dump, without a JSON value in between.
 *
 * Pods are nearly all of a big cluster's dump, and `JSON.parse`, the check of the result and the conversion of it cost ten
 * times what it takes to read what the model needs from the bytes. A pod is first compared with the forms of those read before
 * (json-form.ts): where it has one of them, only what differs is looked at. Else the scan walks over it (pod-scanner.ts), and what it finds good
 * becomes a form.
 *
 *     pod 0   scanned: name, node, labels, … each noted with its place               ─► form A, pod of form A
 *     pod 1   = form A but for the holes `name` and `podIPs[0].ip`                    ─► that pod with another name and address
 *     pod 2   form A does not fit (a second container): scanned                       ─► form B, which is tried first from now on
 *
 * Only pods are taken of which nothing is to be said. For all others the long way decides: same model, same messages.
 * `test/load/pod-reader.test.ts` holds the ways to that.
 */

import { isIdleAnnotation } from '../model/pod-addresses.ts';
import type { ContainerPort, Pod, StringMap } from '../model/resources.ts';
import { JsonForm } from './json-form.ts';
import { FAIL } from './json-scanner.ts';
import {
  NO_PORTS,
  SPOT_ANNOTATION,
  SPOT_FIXED,
  SPOT_INIT_PORTS,
  SPOT_IP,
  SPOT_LABELS,
  SPOT_NONE,
  SPOT_POD_IP,
  SPOT_PORTS,
} from './pod-fields.ts';
import { PodForm, type Region } from './pod-form.ts';
import { annotationValue, PodScanner } from './pod-scanner.ts';
import { NO_ENTRIES } from './raw.ts';
import { ANNOTATIONS_BYTES_MAX } from './validate-meta.ts';

/** Forms that are kept, and the longest pod that one is made of. */
const FORMS_MAX = 32;
const FORM_BYTES_MAX = 256 * 1024;
/**
 * Pods of which no two are alike are not worth their forms: so many may be made, and one more for every pod that had a form or
 * (dumps change their nature) for so many that had none. The less there is of this credit, the fewer forms are tried.
 */
const CREDIT_MAX = 64;
const CREDIT_OF_MISS = 1 / 16;
const TRIES_MIN = 2;

export class PodReader extends PodScanner {
  readonly #file: string;
  readonly #isAsIs: boolean;
  /** The one that fitted last comes first. */
  readonly #forms: PodForm[] = [];
  #credit = CREDIT_MAX;

  /** `isAsIs` as in `LoadMode`. */
  constructor(file: string, isAsIs: boolean) {
    super();
    this.#file = file;
    this.#isAsIs = isAsIs;
  }

  /**
   * Reads the pod whose bracket is at `from`; gives the offset behind it, or `FAIL` for what is left to the long way.
   *
   * @param isBare  it may lack version and kind, those of its list being `v1` and `PodList`
   */
  read(bytes: Buffer, from: number, depth: number, isBare: boolean): number {
    this.begin(bytes);
    const forms = this.#forms;
    const tries = Math.min(forms.length, TRIES_MIN + (this.#credit >> 1));
    for (let i = 0; i < tries; i++) {
      const form = forms[i]!;
      const end = this.match(form.form, from);
      if (end < 0) continue;
      if (!(form.isTyped || isBare) || !this.#fill(form, from) || (this.isWide && !this.isText(from, end))) break;
      if (i > 0) forms.unshift(...forms.splice(i, 1));
      this.#credit = Math.min(CREDIT_MAX, this.#credit + 1);
      return end;
    }
    this.begin(bytes);
    const end = this.scan(from, depth);
    if (end < 0 || !(this.isTyped || isBare) || (this.isWide && !this.isText(from, end))) return FAIL;
    this.#credit += CREDIT_OF_MISS;
    if (this.#credit >= 1 && end - from <= FORM_BYTES_MAX) this.#learn(from, end);
    return end;
  }

  /** The pod read last, which began on this line. */
  pod(line: number): Pod {
    return this.fields.draft.toPod(this.#file, line, this.#isAsIs);
  }

  /** Makes a form of the pod that was scanned last. */
  #learn(from: number, end: number): void {
    this.#credit--;
    const { bytes, notedSpots, notedStarts, notedEnds, notedNumbers, notedKeys } = this;
    const fixed = new Set(notedStarts.filter((_, i) => notedSpots[i] === SPOT_FIXED));
    const facts = {
      isTyped: this.isTyped,
      lines: this.lines,
      lineStart: this.lineStart - from,
      annotationBytes: this.annotationBytes,
    };
    const form = new PodForm(new JsonForm(bytes, from, end, fixed), this.fields.draft, facts);
    for (const [i, spot] of notedSpots.entries()) {
      const region = { start: notedStarts[i]! - from, end: notedEnds[i]! - from };
      const number = notedNumbers[i]!;
      if (spot === SPOT_FIXED) continue;
      if (spot === SPOT_LABELS) form.addLabels(region);
      else if (spot === SPOT_PORTS || spot === SPOT_INIT_PORTS) {
        const ports = this.fields.ports(bytes, notedStarts[i]!, notedEnds[i]!) ?? NO_PORTS;
        form.addPorts({ ...region, isInit: spot === SPOT_INIT_PORTS, ports });
      } else if (spot === SPOT_ANNOTATION) {
        const value = annotationValue(bytes, notedStarts[i]!, notedEnds[i]!);
        form.addAnnotation(spot, region.start, notedKeys[number]!, value);
      } else form.addScalar(spot, region.start, number);
    }
    if (this.#forms.length === FORMS_MAX) this.#forms.pop();
    this.#forms.unshift(form);
  }

  /** The draft becomes the form's pod with what the matched pod has of its own; false = something is to be said of that. */
  #fill(form: PodForm, from: number): boolean {
    const { fields, bytes, changedHoles, changedStarts, changedEnds, changedCount } = this;
    const { draft } = fields;
    const { spots, numbers } = form;
    draft.copy(form.draft);
    let hasLabels = false;
    let hasAnnotations = false;
    let hasPorts = false;
    for (let i = 0; i < changedCount; i++) {
      const hole = changedHoles[i]!;
      const spot = spots[hole]!;
      if (spot === SPOT_NONE) continue;
      if (spot <= SPOT_POD_IP) {
        if (!fields.take(spot, bytes, changedStarts[i]!, changedEnds[i]!)) return false;
      } else if (spot === SPOT_IP) {
        draft.podIPs = draft.podIPs.with(numbers[hole]!, fields.address(bytes, changedStarts[i]!, changedEnds[i]!));
      } else if (spot === SPOT_LABELS) hasLabels = true;
      else if (spot === SPOT_ANNOTATION) hasAnnotations = true;
      else hasPorts = true;
    }
    this.#place(form, from);
    return (
      (!hasLabels || this.#fillLabels(form)) &&
      (!hasAnnotations || this.#fillAnnotations(form)) &&
      (!hasPorts || this.#fillPorts(form))
    );
  }

  /** Lines of the matched pod, which are those of the form, and where the last one begins. */
  #place(form: PodForm, from: number): void {
    this.lines = form.lines;
    if (form.lines === 0) return;
    let last = this.changedCount - 1;
    while (last >= 0 && form.form.starts[this.changedHoles[last]!]! > form.lineStart) last--;
    const shift = last < 0 ? from : this.changedEnds[last]! - form.form.ends[this.changedHoles[last]!]!;
    this.lineStart = form.lineStart + shift;
  }

  #fillLabels(form: PodForm): boolean {
    const { fields, bytes, changedHoles, changedStarts, changedEnds } = this;
    const { labelKeys, labelValues, labels: region } = form;
    const first = this.#nextChanged(form, SPOT_LABELS, 0);
    let last = first;
    while (last + 1 < this.changedCount && form.spots[changedHoles[last + 1]!] === SPOT_LABELS) last++;
    const from = this.#startOf(form, region, first);
    const to = this.#endOf(form, region, last);
    let labels = labelKeys === undefined ? fields.labels(bytes, from, to) : fields.knownLabels(bytes, from, to);
    if (labels === undefined && labelKeys !== undefined) {
      const values = [...labelValues];
      for (let i = first; i <= last; i++) {
        const value = fields.labelValue(bytes, changedStarts[i]!, changedEnds[i]!);
        if (value === undefined) return false;
        values[form.numbers[changedHoles[i]!]!] = value;
      }
      labels = new Map(labelKeys.map((key, i) => [key, values[i]!]));
      fields.noteLabels(bytes, from, to, labels);
    }
    if (labels === undefined || labels === 'to be reported') return false;
    fields.draft.labels = labels;
    return true;
  }

  #fillAnnotations(form: PodForm): boolean {
    const { bytes, changedHoles, changedStarts, changedEnds, changedCount } = this;
    const { starts, ends } = form.form;
    let lengthBytes = form.annotationBytes;
    let values: string[] | undefined;
    for (
      let i = this.#nextChanged(form, SPOT_ANNOTATION, 0);
      i < changedCount;
      i = this.#nextChanged(form, SPOT_ANNOTATION, i + 1)
    ) {
      const hole = changedHoles[i]!;
      const start = changedStarts[i]!;
      const end = changedEnds[i]!;
      const number = form.numbers[hole]!;
      const { isIdle, value } = form.annotations[number]!;
      lengthBytes += end - start - (ends[hole]! - starts[hole]!);
      if (isIdle && value !== '' && end > start) continue;
      values ??= form.annotations.map((annotation) => annotation.value);
      values[number] = annotationValue(bytes, start, end);
    }
    if (values !== undefined) this.fields.draft.annotations = annotationsOf(form, values);
    return lengthBytes <= ANNOTATIONS_BYTES_MAX;
  }

  #fillPorts(form: PodForm): boolean {
    const { draft } = this.fields;
    const lists = form.ports.map(({ ports }) => ports);
    for (
      let i = this.#nextChanged(form, SPOT_PORTS, 0);
      i < this.changedCount;
      i = this.#nextChanged(form, SPOT_PORTS, i + 1)
    ) {
      const number = form.numbers[this.changedHoles[i]!]!;
      const region = form.ports[number]!;
      let last = i;
      for (let next = i; next < this.changedCount; next = this.#nextChanged(form, SPOT_PORTS, next + 1)) {
        if (form.numbers[this.changedHoles[next]!] === number) last = next;
      }
      const ports = this.fields.ports(this.bytes, this.#startOf(form, region, i), this.#endOf(form, region, last));
      if (ports === undefined) return false;
      lists[number] = ports;
      i = last;
    }
    draft.containerPorts = joined(lists.filter((_, number) => !form.ports[number]!.isInit));
    draft.initContainerPorts = joined(lists.filter((_, number) => form.ports[number]!.isInit));
    return true;
  }

  /** The first change from `from` on in a hole of this spot, or the number of changes. */
  #nextChanged(form: PodForm, spot: number, from: number): number {
    let i = from;
    while (i < this.changedCount && form.spots[this.changedHoles[i]!] !== spot) i++;
    return i;
  }

  /** Where a region begins whose first change is this one. */
  #startOf(form: PodForm, region: Region, change: number): number {
    return region.start + this.changedStarts[change]! - form.form.starts[this.changedHoles[change]!]!;
  }

  /** The offset behind a region whose last change is this one. */
  #endOf(form: PodForm, region: Region, change: number): number {
    return region.end + this.changedEnds[change]! - form.form.ends[this.changedHoles[change]!]!;
  }
}

function annotationsOf(form: PodForm, values: readonly string[]): StringMap {
  const hasPodIPs = form.draft.podIPs.length > 0;
  const annotations = new Map<string, string>();
  for (const [number, { key }] of form.annotations.entries()) {
    const value = values[number]!;
    if (!isIdleAnnotation(key, value, hasPodIPs)) annotations.set(key, value);
  }
  return annotations.size === 0 ? NO_ENTRIES : annotations;
}

/** The lists one behind the other; one alone stays itself, so that pods share it. */
function joined(lists: readonly (readonly ContainerPort[])[]): readonly ContainerPort[] {
  const some = lists.filter((list) => list.length > 0);
  return some.length === 1 ? some[0]! : some.flat();
}
