/**
 * Which addresses a pod owns.
 *
 * A pod owns addresses if it is scheduled, not on the host network, not finished and has some; readiness does not matter. They come from
 * the first of `status.podIPs`, `status.podIP` and three annotations that is not empty.
 *
 * Source: Calico libcalico-go/lib/backend/k8s/conversion/conversion.go (getPodIPs, IsFinished); semantics 2.1.
 */
import type { Pod } from './resources.ts';

const POD_IP = 'cni.projectcalico.org/podIP';
const POD_IPS = 'cni.projectcalico.org/podIPs';
const AWS_POD_IPS = 'vpc.amazonaws.com/pod-ips';
export const ALLOWED_SOURCE_PREFIXES = 'cni.projectcalico.org/allowedSourcePrefixes';
export const FLOATING_IPS = 'cni.projectcalico.org/floatingIPs';

const NONE: readonly never[] = [];

/** The pod's addresses as written, which may be no addresses at all; empty if it owns none. */
export function podAddressTexts(pod: Pod): readonly string[] {
  if (pod.hostNetwork || pod.nodeName === '' || isFinished(pod)) return NONE;
  if (pod.podIPs.length > 0) return pod.podIPs;
  if (pod.podIP !== '') return [pod.podIP];
  const { annotations } = pod.meta;
  if (annotations.size === 0) return NONE;
  const list = annotations.get(POD_IPS) ?? '';
  if (list !== '') return list.split(',');
  const single = annotations.get(POD_IP) ?? '';
  if (single !== '') return [single];
  const aws = annotations.get(AWS_POD_IPS) ?? '';
  return aws === '' ? NONE : aws.split(',');
}

/** Calico's plugin writes it on each of its pods. */
const CONTAINER_ID = 'cni.projectcalico.org/containerID';

/**
 * Whether an annotation of a pod can be left out of the model: every pod that Calico connects has these three, each with a text of its own, and a
 * cluster has 250 000 pods. Addresses in annotations are asked for where the status has none, or where one is empty.
 */
export function isIdleAnnotation(key: string, value: string, hasPodIPs: boolean): boolean {
  if (key === CONTAINER_ID) return true;
  return hasPodIPs && value !== '' && (key === POD_IP || key === POD_IPS);
}

/** A finished pod gave its addresses back; one that is merely terminating still owns them. */
function isFinished(pod: Pod): boolean {
  if (pod.phase === 'Failed' || pod.phase === 'Succeeded' || pod.phase === 'Completed') return true;
  if (!pod.hasDeletionTimestamp) return false;
  return pod.meta.annotations.get(POD_IP) === '' || pod.meta.annotations.get(AWS_POD_IPS) === '';
}
