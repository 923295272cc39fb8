/**
 * Pods for manifests that hold workloads and no pods.
 *
 * A Deployment and its like say which pods a cluster would run, but neither where nor with which addresses. When a load
 * has no pod of its own, each workload gets the pods it asks for, with addresses from 198.18.0.0/15 (RFC 2544, never
 * used on networks) in the order of the input, one each, and a warning that names them. With pods in the input workloads are left
 * alone: their pods are among them.
 */
import { formatIpv4 } from '../base/ip.ts';
import { SYNTHETIC_PODS_MAX } from '../model/limits.ts';
import type { ContainerPort, Node, ObjectMeta, Pod } from '../model/resources.ts';
import { accountOf, portsOf, type RawPodSpec } from './convert-core.ts';
import type { ObjectContext } from './object.ts';
import type { ProblemList } from './problem.ts';
import { listOf, type Opt, objectMeta, type RawMeta, type RawObject, stringMap } from './raw.ts';

/** A workload: how many pods, and what each is like. */
export interface Workload {
  readonly kind: 'Workload';
  /** `Deployment`, `CronJob`, … */
  readonly workloadKind: string;
  readonly meta: ObjectMeta;
  /** `undefined` = one on every node. */
  readonly replicas: number | undefined;
  /** `Kind/name` of the workload that made this one (of a ReplicaSet its Deployment), else `''`. */
  readonly owner: string;
  readonly template: PodTemplate;
}

interface PodTemplate {
  readonly labels: ObjectMeta['labels'];
  readonly annotations: ObjectMeta['annotations'];
  readonly nodeName: string;
  readonly hostNetwork: boolean;
  readonly serviceAccountName: string;
  readonly containerPorts: readonly ContainerPort[];
  readonly initContainerPorts: readonly ContainerPort[];
}

interface RawTemplate {
  readonly metadata?: Opt<RawMeta>;
  readonly spec?: Opt<RawPodSpec>;
}

interface RawWorkloadSpec {
  readonly replicas?: Opt<number>;
  readonly parallelism?: Opt<number>;
  readonly template?: Opt<RawTemplate>;
  readonly jobTemplate?: Opt<{ readonly spec?: Opt<RawWorkloadSpec> }>;
}

export interface RawWorkload extends RawObject {
  readonly metadata?: Opt<
    RawMeta & {
      readonly ownerReferences?: Opt<readonly { readonly kind?: Opt<string>; readonly name?: Opt<string> }[]>;
    }
  >;
  readonly spec?: Opt<RawWorkloadSpec>;
}

export function convertWorkload(raw: RawWorkload, context: ObjectContext): Workload {
  const outer = raw.spec ?? {};
  const spec = outer.jobTemplate?.spec ?? outer;
  const owner = listOf(raw.metadata?.ownerReferences)[0];
  return {
    kind: 'Workload',
    workloadKind: context.id.kind,
    meta: objectMeta(raw.metadata, context),
    replicas: context.id.kind === 'DaemonSet' ? undefined : (spec.replicas ?? spec.parallelism ?? 1),
    owner: owner === undefined ? '' : `${owner.kind}/${owner.name}`,
    template: convertTemplate(spec.template ?? {}, context),
  };
}

function convertTemplate(raw: RawTemplate, context: ObjectContext): PodTemplate {
  const spec = raw.spec ?? {};
  return {
    labels: stringMap(raw.metadata?.labels),
    annotations: stringMap(raw.metadata?.annotations),
    nodeName: spec.nodeName ?? '',
    hostNetwork: spec.hostNetwork ?? false,
    serviceAccountName: accountOf(spec, context.mode.asIs),
    containerPorts: portsOf(spec.containers),
    initContainerPorts: portsOf(spec.initContainers),
  };
}

/** 198.18.0.0, first of the block for measurements. */
const FIRST_ADDRESS = 0xc6120000;

/** The node of synthetic pods where the input has no Node. */
const SYNTHETIC_NODE = 'synthetic-node';

/** The pods of all workloads that no other workload of the load owns, with a warning for each workload. */
export function synthesisePods(workloads: readonly Workload[], nodes: readonly Node[], problems: ProblemList): Pod[] {
  const known = new Set(workloads.map(({ workloadKind, meta }) => `${meta.namespace}/${workloadKind}/${meta.name}`));
  const nodeNames = nodes.length === 0 ? [SYNTHETIC_NODE] : nodes.map((node) => node.meta.name);
  const pods: Pod[] = [];
  for (const workload of workloads) {
    if (known.has(`${workload.meta.namespace}/${workload.owner}`)) continue;
    const count = workload.replicas ?? nodeNames.length;
    if (pods.length + count > SYNTHETIC_PODS_MAX) {
      const message = `more than ${SYNTHETIC_PODS_MAX} pods would have to be made for workloads`;
      problems.errors.push({ ...subjectOf(workload), message, fix: 'lower replicas, or give the pods themselves' });
      break;
    }
    if (count === 0) continue;
    const first = pods.length;
    for (let index = 0; index < count; index++) pods.push(podOf(workload, index, nodeNames, first + index));
    problems.warnings.push({ ...subjectOf(workload), ...announcement(pods.slice(first)) });
  }
  return pods;
}

function podOf(workload: Workload, index: number, nodeNames: readonly string[], number: number): Pod {
  const { template, meta } = workload;
  const address = template.hostNetwork ? '' : formatIpv4((FIRST_ADDRESS + 1 + number) | 0);
  return {
    kind: 'Pod',
    meta: {
      name: `${meta.name}-${index}`,
      namespace: meta.namespace,
      uid: '',
      labels: template.labels,
      annotations: template.annotations,
      origin: meta.origin,
    },
    nodeName: template.nodeName || nodeNames[index % nodeNames.length]!,
    hostNetwork: template.hostNetwork,
    serviceAccountName: template.serviceAccountName,
    phase: 'Running',
    hasDeletionTimestamp: false,
    podIPs: address === '' ? [] : [address],
    podIP: address,
    containerPorts: template.containerPorts,
    initContainerPorts: template.initContainerPorts,
    isSynthesised: true,
  };
}

function subjectOf({ workloadKind, meta }: Workload) {
  return { ...meta.origin, kind: workloadKind, namespace: meta.namespace, name: meta.name, field: '' };
}

function announcement(pods: readonly Pod[]): { message: string; fix: string } {
  const first = pods[0]!;
  const last = pods.at(-1)!;
  const names =
    first === last ? `pod ${first.meta.name}` : `${pods.length} pods, ${first.meta.name} to ${last.meta.name},`;
  const range = first === last ? first.podIP : `${first.podIP} to ${last.podIP}`;
  const addresses =
    range === '' ? 'the addresses of the node' : `the made-up address${first === last ? '' : 'es'} ${range}`;
  return {
    message: `the input has no pods, so it is taken to run ${names} with ${addresses}`,
    fix: 'add the pods (kubectl get pods -A -o json) to judge real addresses',
  };
}
