/** Schemas of Kubernetes' own kinds. Of bulky ones (pods) the fields that no verdict depends on are known by name only. */
import {
  anything,
  closed,
  flag,
  list,
  META,
  object,
  open,
  partly,
  type Schema,
  text,
  textMap,
  whole,
  wholeOrText,
} from './build.ts';

const CONTAINER_PORT = closed({
  name: text(),
  containerPort: whole({ minimum: 0, maximum: 65535 }),
  hostPort: whole({ minimum: 0, maximum: 65535 }),
  hostIP: text(),
  protocol: text(),
});

const CONTAINER = partly(
  { name: text(), ports: list(CONTAINER_PORT) },
  `image command args workingDir envFrom env resources resizePolicy restartPolicy restartPolicyRules volumeMounts
   volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath terminationMessagePolicy
   imagePullPolicy securityContext stdin stdinOnce tty`,
);

const POD_SPEC = partly(
  {
    nodeName: text(),
    hostNetwork: flag(),
    serviceAccountName: text(),
    serviceAccount: text(),
    containers: list(CONTAINER),
    initContainers: list(CONTAINER),
  },
  `volumes ephemeralContainers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector
   automountServiceAccountToken hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain
   affinity schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates runtimeClassName
   enableServiceLinks preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN os hostUsers schedulingGates
   resourceClaims resources hostnameOverride workloadRef`,
);

export const POD = object({
  spec: POD_SPEC,
  status: open({ phase: text(), podIP: text(), podIPs: list(open({ ip: text() })) }),
});

export const NAMESPACE = object({ spec: partly({}, 'finalizers'), status: anything });

export const SERVICE_ACCOUNT = object({
  secrets: anything,
  imagePullSecrets: anything,
  automountServiceAccountToken: anything,
});

export const NODE = object({
  spec: partly({ podCIDR: text(), podCIDRs: list(text()) }, 'providerID unschedulable taints configSource externalID'),
  status: open({ addresses: list(open({ type: text(), address: text() })) }),
});

const PORT_NUMBER = whole({ minimum: 0, maximum: 65535 });

export const SERVICE = object({
  spec: partly(
    {
      type: text(),
      clusterIP: text(),
      clusterIPs: list(text()),
      externalIPs: list(text()),
      loadBalancerIP: text(),
      selector: textMap(),
      ports: list(
        closed({
          name: text(),
          protocol: text(),
          appProtocol: text(),
          port: whole({ minimum: 1, maximum: 65535 }),
          targetPort: wholeOrText(),
          nodePort: PORT_NUMBER,
        }),
      ),
    },
    `sessionAffinity loadBalancerSourceRanges externalName externalTrafficPolicy healthCheckNodePort
     publishNotReadyAddresses sessionAffinityConfig ipFamilies ipFamilyPolicy allocateLoadBalancerNodePorts
     loadBalancerClass internalTrafficPolicy trafficDistribution topologyKeys`,
  ),
  status: open({ loadBalancer: open({ ingress: list(open({ ip: text() })) }) }),
});

export const ENDPOINT_SLICE = object({
  addressType: text(),
  endpoints: list(
    partly(
      { addresses: list(text()) },
      'conditions hostname targetRef deprecatedTopology topology nodeName zone hints',
    ),
  ),
  ports: list(closed({ name: text(), protocol: text(), port: PORT_NUMBER, appProtocol: text() })),
});

const POD_TEMPLATE: Schema = closed({ metadata: META, spec: POD_SPEC });

function workload(others: string): Schema {
  return object({
    spec: partly({ replicas: whole({ minimum: 0 }), template: POD_TEMPLATE }, others),
    status: anything,
  });
}

export const DEPLOYMENT = workload(
  'selector strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds',
);
export const REPLICA_SET = workload('selector minReadySeconds');
export const DAEMON_SET = workload('selector updateStrategy minReadySeconds revisionHistoryLimit');
export const STATEFUL_SET = workload(
  `selector volumeClaimTemplates serviceName podManagementPolicy updateStrategy revisionHistoryLimit minReadySeconds
   persistentVolumeClaimRetentionPolicy ordinals`,
);

const JOB_FIELDS = `completions activeDeadlineSeconds podFailurePolicy successPolicy backoffLimit
  backoffLimitPerIndex maxFailedIndexes selector manualSelector ttlSecondsAfterFinished completionMode suspend
  podReplacementPolicy managedBy`;
const JOB_SPEC = partly({ template: POD_TEMPLATE, parallelism: whole({ minimum: 0 }) }, JOB_FIELDS);

export const JOB = object({ spec: JOB_SPEC, status: anything });
export const CRON_JOB = object({
  spec: partly(
    { jobTemplate: closed({ metadata: META, spec: JOB_SPEC }) },
    `schedule timeZone startingDeadlineSeconds concurrencyPolicy suspend successfulJobsHistoryLimit
     failedJobsHistoryLimit`,
  ),
  status: anything,
});

export const LABEL_SELECTOR = closed({
  matchLabels: textMap(),
  matchExpressions: list(closed({ key: text(), operator: text(), values: list(text()) })),
});

const PEER = closed({
  podSelector: LABEL_SELECTOR,
  namespaceSelector: LABEL_SELECTOR,
  ipBlock: closed({ cidr: text(), except: list(text()) }),
});

const PORT = closed({ protocol: text(), port: wholeOrText(), endPort: whole() });

/** Fields of the spec of a Kubernetes NetworkPolicy, which Calico's staged kind shares. */
export const NETWORK_POLICY_SPEC_FIELDS = {
  podSelector: LABEL_SELECTOR,
  ingress: list(closed({ from: list(PEER), ports: list(PORT) })),
  egress: list(closed({ to: list(PEER), ports: list(PORT) })),
  policyTypes: list(text()),
};

export const NETWORK_POLICY = object({ spec: closed(NETWORK_POLICY_SPEC_FIELDS), status: anything });
