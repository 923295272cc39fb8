/** Schemas of roles, bindings and validating admission policies. */
import { anything, closed, list, object, partly, text } from './build.ts';
import { LABEL_SELECTOR } from './kubernetes.ts';

const RULE = closed(
  {
    verbs: list(text()),
    apiGroups: list(text()),
    resources: list(text()),
    resourceNames: list(text()),
    nonResourceURLs: list(text()),
  },
  ['verbs'],
);

export const ROLE = object({ rules: list(RULE) });

export const CLUSTER_ROLE = object({
  rules: list(RULE),
  aggregationRule: closed({ clusterRoleSelectors: list(LABEL_SELECTOR) }),
});

export const BINDING = object(
  {
    roleRef: closed({ apiGroup: text(), kind: text(), name: text() }, ['kind', 'name']),
    subjects: list(closed({ apiGroup: text(), kind: text(), name: text(), namespace: text() }, ['kind', 'name'])),
  },
  ['roleRef'],
);

const RESOURCE_RULE = closed({
  apiGroups: list(text()),
  apiVersions: list(text()),
  operations: list(text()),
  resources: list(text()),
  resourceNames: list(text()),
  scope: text(),
});

const MATCH_RESOURCES = closed({
  resourceRules: list(RESOURCE_RULE),
  excludeResourceRules: list(RESOURCE_RULE),
  matchPolicy: text(),
  namespaceSelector: LABEL_SELECTOR,
  objectSelector: LABEL_SELECTOR,
});

export const ADMISSION_POLICY = object({
  spec: partly(
    {
      failurePolicy: text(),
      matchConstraints: MATCH_RESOURCES,
      matchConditions: list(anything),
      validations: list(
        closed({ expression: text(), message: text(), messageExpression: text(), reason: text() }, ['expression']),
      ),
    },
    'paramKind auditAnnotations variables',
  ),
  status: anything,
});

export const ADMISSION_POLICY_BINDING = object({
  spec: partly({ policyName: text(), validationActions: list(text()), matchResources: MATCH_RESOURCES }, 'paramRef'),
});
