/** Schema of ClusterNetworkPolicy, policy.networking.k8s.io/v1alpha2. */
import { anything, closed, list, object, text, whole, word } from './build.ts';
import { LABEL_SELECTOR } from './kubernetes.ts';

const PODS = closed({ namespaceSelector: LABEL_SELECTOR, podSelector: LABEL_SELECTOR });
const PORT_NUMBER = whole({ minimum: 1, maximum: 65535 });
const PORT = closed({ number: PORT_NUMBER, range: closed({ start: PORT_NUMBER, end: PORT_NUMBER }, ['start', 'end']) });
const TRANSPORT = closed({ destinationPort: PORT });
const PROTOCOL = closed({ tcp: TRANSPORT, udp: TRANSPORT, sctp: TRANSPORT, destinationNamedPort: text() });
const PROTOCOLS = list(PROTOCOL, { minItems: 1, maxItems: 25 });
const ACTION = word('Accept', 'Deny', 'Pass');
const NAME = text({ maxLength: 100 });

const INGRESS_PEER = closed({ namespaces: LABEL_SELECTOR, pods: PODS });
const EGRESS_PEER = closed({
  namespaces: LABEL_SELECTOR,
  pods: PODS,
  nodes: LABEL_SELECTOR,
  networks: list(text({ maxLength: 43 }), { minItems: 1, maxItems: 25 }),
  domainNames: list(text(), { minItems: 1, maxItems: 25 }),
});

export const CLUSTER_NETWORK_POLICY = object(
  {
    spec: closed(
      {
        tier: word('Admin', 'Baseline'),
        priority: whole({ minimum: 0, maximum: 1000 }),
        subject: closed({ namespaces: LABEL_SELECTOR, pods: PODS }),
        ingress: list(
          closed(
            {
              name: NAME,
              action: ACTION,
              from: list(INGRESS_PEER, { minItems: 1, maxItems: 25 }),
              protocols: PROTOCOLS,
            },
            ['action', 'from'],
          ),
          { maxItems: 25 },
        ),
        egress: list(
          closed(
            { name: NAME, action: ACTION, to: list(EGRESS_PEER, { minItems: 1, maxItems: 25 }), protocols: PROTOCOLS },
            ['action', 'to'],
          ),
          { maxItems: 25 },
        ),
      },
      ['tier', 'priority', 'subject'],
    ),
    status: anything,
  },
  ['spec'],
);
