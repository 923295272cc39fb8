/** The form of a pod (json-form.ts), and what stands in its holes. */
import { isIdleAnnotation } from '../model/pod-addresses.ts';
import type { ContainerPort } from '../model/resources.ts';
import type { JsonForm } from './json-form.ts';
import { isIndexLike, PodDraft, SPOT_LABELS, SPOT_PORTS } from './pod-fields.ts';

/** A value that is read as a whole when anything in it differs. Offsets in the form: of its bracket, and behind the other one. */
export interface Region {
  readonly start: number;
  readonly end: number;
}

/** The ports of one container, and what the pod of the form has there. */
export interface PortsRegion extends Region {
  readonly isInit: boolean;
  readonly ports: readonly ContainerPort[];
}

export interface FormAnnotation {
  readonly key: string;
  readonly value: string;
  /** It is not in the model as long as it is not empty. */
  readonly isIdle: boolean;
}

/** Facts of the pod that a form is made of; `lineStart` is the offset in it behind the last line end. */
export interface PodFormFacts {
  /** It says of itself that it is a pod. */
  readonly isTyped: boolean;
  readonly lines: number;
  readonly lineStart: number;
  readonly annotationBytes: number;
}

export class PodForm implements PodFormFacts {
  readonly form: JsonForm;
  readonly draft = new PodDraft();
  readonly isTyped: boolean;
  readonly lines: number;
  readonly lineStart: number;
  readonly annotationBytes: number;
  /** By hole: its spot, and the number of the address, annotation, label or list of ports that it is (in). */
  readonly spots: Uint8Array;
  readonly numbers: Uint16Array;
  readonly annotations: FormAnnotation[] = [];
  readonly ports: PortsRegion[] = [];
  labels: Region = { start: 0, end: 0 };
  labelValues: readonly string[] = [];
  /** In the order of the text; `undefined` where that is not the order of the model. */
  labelKeys: readonly string[] | undefined;

  constructor(form: JsonForm, draft: PodDraft, facts: PodFormFacts) {
    this.form = form;
    this.draft.copy(draft);
    this.isTyped = facts.isTyped;
    this.lines = facts.lines;
    this.lineStart = facts.lineStart;
    this.annotationBytes = facts.annotationBytes;
    this.spots = new Uint8Array(form.holeCount);
    this.numbers = new Uint16Array(form.holeCount);
  }

  /** The scalar at an offset of the form. */
  addScalar(spot: number, start: number, number: number): void {
    const hole = this.form.holeAt(start);
    this.spots[hole] = spot;
    this.numbers[hole] = number;
    this.form.isPlain[hole] = 1;
  }

  addAnnotation(spot: number, start: number, key: string, value: string): void {
    const hole = this.form.holeAt(start);
    this.spots[hole] = spot;
    this.numbers[hole] = this.annotations.length;
    this.annotations.push({ key, value, isIdle: isIdleAnnotation(key, 'x', this.draft.podIPs.length > 0) });
  }

  addLabels(region: Region): void {
    const first = this.form.holeAt(region.start);
    for (let hole = first; this.form.starts[hole]! < region.end; hole++) {
      this.spots[hole] = SPOT_LABELS;
      this.numbers[hole] = hole - first;
      this.form.isPlain[hole] = 1;
    }
    this.labels = region;
    this.labelValues = [...this.draft.labels.values()];
    const keys = [...this.draft.labels.keys()];
    if (!keys.some(isIndexLike)) this.labelKeys = keys;
  }

  addPorts(region: PortsRegion): void {
    for (let hole = this.form.holeAt(region.start); this.form.starts[hole]! < region.end; hole++) {
      this.spots[hole] = SPOT_PORTS;
      this.numbers[hole] = this.ports.length;
    }
    this.ports.push(region);
  }
}
