/**
 * What Istio would take: the mutual TLS mode of a workload's port, from PeerAuthentication.
 *
 *   port of the workload's policy ─► workload's policy ─► policy of its namespace ─► policy of the root namespace ─► PERMISSIVE
 *
 * Each level that is UNSET, or absent, asks the next. Of several policies at one level the oldest counts. In the root namespace a policy
 * with a selector is ignored. STRICT takes mutual TLS alone, PERMISSIVE plain text as well, DISABLE plain text alone (but ambient has no
 * DISABLE: ztunnel takes HBONE always).
 * Source: Istio pilot/pkg/security/authn (ComposePeerAuthentication), security/v1beta1/peer_authentication.proto.
 */
import type { MtlsMode, PeerAuthentication } from '../model/mesh.ts';
import type { Resources, StringMap } from '../model/resources.ts';

/** Istio's default. */
const ROOT_NAMESPACE = 'istio-system';

export interface EffectiveMtls {
  readonly mode: Exclude<MtlsMode, 'UNSET'>;
  readonly level: 'port' | 'workload' | 'namespace' | 'mesh' | 'default';
  /** `prod/default`; undefined for Istio's default. */
  readonly policy: string | undefined;
  /** `mesh.yaml:3`. */
  readonly place: string | undefined;
}

/** Answers for pods of one input; undefined if there is no PeerAuthentication in it at all. */
export function peerAuthenticationOf(
  resources: Pick<Resources, 'peerAuthentications'>,
  namespace: string,
  labels: StringMap,
  port: number,
  rootNamespace: string = ROOT_NAMESPACE,
): EffectiveMtls | undefined {
  const all = resources.peerAuthentications;
  if (all.length === 0) return undefined;
  const isGeneral = ({ selector }: PeerAuthentication): boolean => selector.size === 0;
  const own = all.filter(({ meta }) => meta.namespace === namespace && namespace !== rootNamespace);
  const workload = oldest(own.filter((each) => !isGeneral(each) && selects(each, labels)));
  const ofNamespace = oldest(own.filter(isGeneral));
  const mesh = oldest(all.filter((each) => each.meta.namespace === rootNamespace && isGeneral(each)));
  const levels = [
    ['port', workload, workload?.ports.get(port)],
    ['workload', workload, workload?.mode],
    ['namespace', ofNamespace, ofNamespace?.mode],
    ['mesh', mesh, mesh?.mode],
  ] as const;
  for (const [level, policy, mode] of levels) {
    if (policy === undefined || mode === undefined || mode === 'UNSET') continue;
    const { meta } = policy;
    return { mode, level, policy: `${meta.namespace}/${meta.name}`, place: `${meta.origin.file}:${meta.origin.line}` };
  }
  return { mode: 'PERMISSIVE', level: 'default', policy: undefined, place: undefined };
}

function selects({ selector }: PeerAuthentication, labels: StringMap): boolean {
  return [...selector].every(([key, value]) => labels.get(key) === value);
}

/** The first of the oldest. */
function oldest(policies: readonly PeerAuthentication[]): PeerAuthentication | undefined {
  return policies.reduce<PeerAuthentication | undefined>(
    (best, each) => (best === undefined || each.createdMs < best.createdMs ? each : best),
    undefined,
  );
}
