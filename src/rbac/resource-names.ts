/**
 * The resources that a question on the command line may name in short: plural, singular and short names, the API group that
 * kubectl would choose for them, and whether they have a namespace. A name that is not here is taken as it is, in the
 * core group unless the question names one; what may be asked about is not limited to this list.
 */
export interface KnownResource {
  readonly resource: string;
  readonly apiGroup: string;
  readonly isNamespaced: boolean;
}

/** `plural singular short…`, with `!` before a resource without namespace. */
const CATALOGUE: Readonly<Record<string, string>> = {
  '': `pods pod po, services service svc, configmaps configmap cm, secrets secret, serviceaccounts serviceaccount sa,
    endpoints endpoint ep, events event ev, replicationcontrollers replicationcontroller rc, podtemplates podtemplate,
    persistentvolumeclaims persistentvolumeclaim pvc, limitranges limitrange limits, resourcequotas resourcequota quota,
    bindings binding, !nodes node no, !namespaces namespace ns, !persistentvolumes persistentvolume pv,
    !componentstatuses componentstatus cs, !users user, !groups group, !uids uid`,
  apps: `deployments deployment deploy, replicasets replicaset rs, statefulsets statefulset sts, daemonsets daemonset ds,
    controllerrevisions controllerrevision`,
  batch: 'jobs job, cronjobs cronjob cj',
  autoscaling: 'horizontalpodautoscalers horizontalpodautoscaler hpa',
  policy: 'poddisruptionbudgets poddisruptionbudget pdb',
  'discovery.k8s.io': 'endpointslices endpointslice',
  'networking.k8s.io': `networkpolicies networkpolicy netpol, ingresses ingress ing, !ingressclasses ingressclass`,
  'policy.networking.k8s.io': '!clusternetworkpolicies clusternetworkpolicy cnp',
  'rbac.authorization.k8s.io': `roles role, rolebindings rolebinding, !clusterroles clusterrole,
    !clusterrolebindings clusterrolebinding`,
  'admissionregistration.k8s.io': `!validatingadmissionpolicies validatingadmissionpolicy,
    !validatingadmissionpolicybindings validatingadmissionpolicybinding,
    !validatingwebhookconfigurations validatingwebhookconfiguration,
    !mutatingwebhookconfigurations mutatingwebhookconfiguration`,
  'apiextensions.k8s.io': '!customresourcedefinitions customresourcedefinition crd crds',
  'certificates.k8s.io': '!certificatesigningrequests certificatesigningrequest csr, !signers signer',
  'storage.k8s.io': '!storageclasses storageclass sc',
  'scheduling.k8s.io': '!priorityclasses priorityclass pc',
  'projectcalico.org': `!globalnetworkpolicies globalnetworkpolicy gnp, stagednetworkpolicies stagednetworkpolicy snp,
    !stagedglobalnetworkpolicies stagedglobalnetworkpolicy sgnp, !tiers tier, networksets networkset netsets,
    stagedkubernetesnetworkpolicies stagedkubernetesnetworkpolicy sknp, !globalnetworksets globalnetworkset gns,
    !hostendpoints hostendpoint hep heps, !profiles profile, !felixconfigurations felixconfiguration felixconfig,
    !bgpconfigurations bgpconfiguration bgpconfig, !ippools ippool, tier.networkpolicies,
    !tier.globalnetworkpolicies, tier.stagednetworkpolicies, !tier.stagedglobalnetworkpolicies`,
};

const BY_NAME = new Map<string, KnownResource>();
for (const [apiGroup, entries] of Object.entries(CATALOGUE)) {
  for (const entry of entries.split(',')) {
    const text = entry.trim();
    const [resource, ...others] = text.replace(/^!/, '').split(/\s+/);
    const known = { resource: resource!, apiGroup, isNamespaced: !text.startsWith('!') };
    for (const name of [resource!, ...others]) if (!BY_NAME.has(name)) BY_NAME.set(name, known);
  }
}

/**
 * The resource that `text` means, without its subresource: `deploy`, `deployments`, `deployments.apps`,
 * `tier.networkpolicies`. `apiGroup` is the group that the question names, if it does.
 */
export function findResource(
  text: string,
  apiGroup: string | undefined,
): KnownResource & { readonly isKnown: boolean } {
  const dot = text.startsWith('tier.') ? text.indexOf('.', 'tier.'.length) : text.indexOf('.');
  const name = (dot < 0 ? text : text.slice(0, dot)).toLowerCase();
  const group = apiGroup ?? (dot < 0 ? undefined : text.slice(dot + 1));
  const known = BY_NAME.get(name);
  if (known === undefined) return { resource: name, apiGroup: group ?? '', isNamespaced: true, isKnown: false };
  return { ...known, apiGroup: group ?? known.apiGroup, isKnown: true };
}
