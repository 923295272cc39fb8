/** A running pod with all that the API server prints of it: most of a dump is what no verdict depends on. */
export interface PodFacts {
  readonly index: number;
  readonly namespace: string;
  readonly account: string;
  readonly node: string;
  readonly address: string;
  /** Of its node. */
  readonly hostAddress: string;
  readonly version: string;
  readonly tier: string;
  /** Of the pod's template. */
  readonly hash: string;
}

const TIME = '2026-11-20T08:30:00Z';

export function dumpPod(facts: PodFacts): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata(facts),
    spec: spec(facts),
    status: status(facts),
  };
}

function uid(index: number, kind: number): string {
  const tail = (index * 2_654_435_761).toString(16).padStart(12, '0').slice(-12);
  return `${kind}a7c11e0-52d4-4b6e-9d1f-${tail}`;
}

function metadata({ index, namespace, account, address, version, tier, hash }: PodFacts): object {
  return {
    annotations: {
      'cni.projectcalico.org/containerID': uid(index, 1).replaceAll('-', '').repeat(2),
      'cni.projectcalico.org/podIP': `${address}/32`,
      'cni.projectcalico.org/podIPs': `${address}/32`,
    },
    creationTimestamp: TIME,
    generateName: `${account}-${hash}-`,
    labels: {
      app: account,
      'pod-template-hash': hash,
      tier,
      version,
    },
    name: `${account}-${hash}-${index.toString(36)}`,
    namespace,
    ownerReferences: [
      {
        apiVersion: 'apps/v1',
        blockOwnerDeletion: true,
        controller: true,
        kind: 'ReplicaSet',
        name: `${account}-${hash}`,
        uid: uid(index, 2),
      },
    ],
    resourceVersion: `${1_000_000 + index}`,
    uid: uid(index, 3),
  };
}

function spec({ account, node, version, index }: PodFacts): object {
  const token = `kube-api-access-${index.toString(36).padStart(5, 'x')}`;
  return {
    containers: [
      {
        env: [{ name: 'LOG_LEVEL', value: 'info' }],
        image: `registry.example.com/${account}:${version}`,
        imagePullPolicy: 'IfNotPresent',
        name: 'app',
        ports: [{ containerPort: 8080, name: 'http', protocol: 'TCP' }],
        resources: { limits: { cpu: '500m', memory: '512Mi' }, requests: { cpu: '100m', memory: '128Mi' } },
        terminationMessagePath: '/dev/termination-log',
        terminationMessagePolicy: 'File',
        volumeMounts: [{ mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', name: token, readOnly: true }],
      },
    ],
    dnsPolicy: 'ClusterFirst',
    enableServiceLinks: true,
    nodeName: node,
    preemptionPolicy: 'PreemptLowerPriority',
    priority: 0,
    restartPolicy: 'Always',
    schedulerName: 'default-scheduler',
    securityContext: { fsGroup: 2000, runAsNonRoot: true, runAsUser: 1000 },
    serviceAccount: account,
    serviceAccountName: account,
    terminationGracePeriodSeconds: 30,
    tolerations: ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].map((key) => ({
      effect: 'NoExecute',
      key,
      operator: 'Exists',
      tolerationSeconds: 300,
    })),
    volumes: [tokenVolume(token)],
  };
}

function tokenVolume(name: string): object {
  return {
    name,
    projected: {
      defaultMode: 420,
      sources: [
        { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
        { configMap: { items: [{ key: 'ca.crt', path: 'ca.crt' }], name: 'kube-root-ca.crt' } },
        {
          downwardAPI: {
            items: [{ fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' }, path: 'namespace' }],
          },
        },
      ],
    },
  };
}

function status({ index, account, address, hostAddress, version }: PodFacts): object {
  const conditions = ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
    lastProbeTime: null,
    lastTransitionTime: TIME,
    status: 'True',
    type,
  }));
  return {
    conditions,
    containerStatuses: [
      {
        containerID: `containerd://${uid(index, 4).replaceAll('-', '').repeat(2)}`,
        image: `registry.example.com/${account}:${version}`,
        imageID: `registry.example.com/${account}@sha256:${uid(index, 5).replaceAll('-', '').repeat(2)}`,
        lastState: {},
        name: 'app',
        ready: true,
        restartCount: 0,
        started: true,
        state: { running: { startedAt: TIME } },
      },
    ],
    hostIP: hostAddress,
    hostIPs: [{ ip: hostAddress }],
    phase: 'Running',
    podIP: address,
    podIPs: [{ ip: address }],
    qosClass: 'Burstable',
    startTime: TIME,
  };
}
